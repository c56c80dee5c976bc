"""Factors by which scattering geometry, sample, cell and sensor change the intensity of a pixel; angles in rad.

They take arrays of any shape, know no files and no configuration, and import numpy alone, `cylinder` scipy as well.
Directions are unit vectors (3, ...) as in `geometry.rays.Rays`.
"""
