"""Compiled loops and numbers, without files and without configuration: masks, sums, ring statistics, metrics.

It imports `model` alone. Begin with `kernels` (the automatic mask) and `integration` (from pixels to bins).
"""
