"""Pixels of a frame in ring order."""

from __future__ import annotations

import threading
import weakref
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..model.arrays import Image, read_only
from ..model.frame import Frame
from .rings import Rings


class RingValues:
    """Pixels in ring order, of the frame that each thread has in hand, so that several stages need not sort them again.

    Parameters
    ----------
    rings
        The rings.
    """

    def __init__(self, rings: Rings) -> None:
        self.rings, self._thread = rings, threading.local()

    def scatter(self, image: Image, mask: NDArray[np.uint8], lower: float = -np.inf, upper: float = np.inf) -> Image:
        """Apply thresholds to a flat mask and return the pixels in ring order, see `kernels.scatter_to_rings`.

        The next call in the same thread overwrites them.
        """
        from ..numerics import kernels

        values = self._room()
        kernels.scatter_to_rings(image, mask, lower, upper, self.rings.slots, values)
        return values

    def keep(self, frame: Frame, mask: NDArray[np.uint8]) -> Frame:
        """Return the frame with the mask, for which `of` then returns what `scatter` returned last.

        There, every pixel that is masked must be NaN. Image and mask become read-only, because the values in ring order
        would not follow a change.
        """
        image, mask = read_only(frame.image), read_only(mask)
        self._thread.frame = weakref.ref(image), weakref.ref(mask)
        return replace(frame, image=image, mask=mask)

    def of(self, frame: Frame) -> Image:
        """Return the pixels of a frame in ring order, NaN if they are masked or not finite; to be read only."""
        from ..numerics import kernels

        kept = getattr(self._thread, "frame", ())
        if kept and kept[0]() is frame.image and kept[1]() is frame.mask:
            values: Image = self._thread.values
            return values
        mask = self.no_mask if frame.mask is None else read_only(frame.mask.ravel())
        values = self._room()
        kernels.scatter_good(read_only(frame.image.ravel()), mask, self.rings.slots, values)
        return values

    def _room(self) -> Image:
        """Return an array of this thread for the pixels of a frame."""
        if not hasattr(self._thread, "values"):
            self._thread.values = np.empty(self.rings.order.size, np.float32)
        self._thread.frame = ()
        values: Image = self._thread.values
        return values

    @cached_property
    def no_mask(self) -> NDArray[np.uint8]:
        """Flat mask of a frame without bad pixels, read-only."""
        return read_only(np.zeros(self.rings.order.size, np.uint8))
