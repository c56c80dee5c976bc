"""Sweeps: one configuration after another over the same frames, and the verdict which is best.

It imports `execution` and what is below. Begin with `sweep`.
"""
