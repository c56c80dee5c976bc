"""A linear pipeline built from configuration, and the way of one frame through it.

It imports everything below: `model` to `config`. Begin with `pipeline`, then `recipe` (what workers
prepare) and `process`.
"""
