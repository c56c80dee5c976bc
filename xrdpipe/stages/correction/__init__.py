"""Correction of each pixel: `correction` is the stage; `intensity` knows which key asks for which factor."""

from .correction import Correction

__all__ = ["Correction"]
