"""Compiled loops over a pattern.

This package imports what `numerics` may import. Begin with `peaks`, which `metrics` uses.
"""
