"""Configuration: Hydra composes it, schemas check it, and nothing in it may run code.

Only this package imports hydra and omegaconf; Hydra's private modules are used in `hydra_internals` alone. It imports
`model`, `geometry`, `io` and the schemas of the stages. Begin with `loader`; this file stays
empty so that ``--help`` is fast.
"""
