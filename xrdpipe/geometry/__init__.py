"""The geometry of a measurement: PONI files and other calibrations, what depends on them alone, and its cache.

It imports `model` and `numerics`. Begin with `geometry`: a `Geometry` is a `poni.Poni` and a shape.
"""
