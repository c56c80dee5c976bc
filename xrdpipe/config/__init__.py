"""Configuration: Hydra composes it, schemas check it, and nothing in it may run code.

Only this package imports hydra and omegaconf, and only `hydra_internals` imports Hydra's private modules. The package
imports `model`, `geometry`, `io` and the schemas of the stages. Begin with `loader`. This file imports nothing, so that
``--help`` is fast.
"""
