"""Correction of each pixel, by the flat field of the detector and by what geometry, sample, cell and sensor do.

It may be imported by all that import stages, and imports geometry and numerics.
Begin with `correction`, the stage; `intensity` has the keys of the factors, and their checks.
"""

from .correction import Correction

__all__ = ["Correction"]

Correction.__module__ = __name__  # where configurations and results name it
