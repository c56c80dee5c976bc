"""Compiled loops and statistics: masks, integration, ring statistics, metrics.

Nothing here reads files or configuration. The package imports `model` alone. Begin with `kernels` (the automatic mask)
and `integration` (from pixels to bins).
"""
