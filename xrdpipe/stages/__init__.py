"""The stages of the pipeline: one module for each configuration group, with its variants beside it.

Stages import `model`, `numerics`, `geometry` and `io`, and no Hydra. Begin with `stage`, then follow a frame through
`source`, `background`, `correction`, `mask`, `integ`, `plot` and `output`.
"""
