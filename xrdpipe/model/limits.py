"""Limits on what a header may claim, checked before memory is taken."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from .errors import FrameError

LARGEST_IMAGE = 1 << 28  # pixels, a multiple of the largest detectors; a header may claim any size
LONGEST_STACK = 1 << 22  # frames of one file
CREDIBLE = 1 << 28  # bytes of an image that are accepted without a check of the compression ratio


def check_image(shape: Sequence[int], itemsize: int, stored: int, packed: int) -> None:
    """Raise FrameError if the image size that a header claims is not credible.

    Call this before memory is allocated.

    Parameters
    ----------
    shape
        Shape of the image, (slow, fast).
    itemsize
        Bytes per pixel in memory.
    stored
        Bytes in the file, 0 if nothing is stored yet.
    packed
        Largest credible compression ratio of an image above `CREDIBLE` bytes.
    """
    pixels = prod(int(size) for size in shape)
    if pixels > LARGEST_IMAGE:
        raise FrameError(f"the header claims {pixels} pixels")
    if stored and (size := pixels * itemsize) > max(CREDIBLE, packed * stored):
        raise FrameError(f"the header claims {size} bytes where {stored} are stored")


def check_count(frames: int) -> None:
    """Raise FrameError if a header claims more than `LONGEST_STACK` frames."""
    if frames > LONGEST_STACK:
        raise FrameError(f"the header claims {frames} frames")
