"""The stages of the pipeline, one module for each configuration group; variants stand beside them.

They import `model`, `numerics`, `geometry` and `io`, and no Hydra. Begin with `stage`, then follow a frame: `source`,
`background`, `correction`, `mask`, `integ`, `plot`, `output`.
"""
