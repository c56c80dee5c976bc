"""Geometry of a measurement: PONI files and other calibrations, rings and arcs, orientation, and a disk cache.

The package imports `model` and `numerics`. Begin with `geometry`: a `Geometry` combines a `poni.Poni` and a shape.
"""
