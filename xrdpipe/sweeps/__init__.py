"""Sweeps: many configurations over the same frames, and a verdict on which is best.

Begin with `sweep`. This package imports `execution` and lower layers.
"""
