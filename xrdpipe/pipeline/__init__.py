"""A linear pipeline, built from configuration, and the processing of one frame.

This package imports `model` to `config`. Begin with `pipeline`, then read `recipe` (what workers prepare) and
`process`.
"""
