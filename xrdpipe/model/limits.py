"""Limits on what a header may claim, checked before memory is taken."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from .errors import FrameError

LARGEST_IMAGE = 1 << 28  # pixels, a multiple of the largest detectors: a header may lie about its size


LONGEST_STACK = 1 << 22  # frames of one file


CREDIBLE = 1 << 28  # bytes of an image that are taken as they come


def check_image(shape: Sequence[int], itemsize: int, stored: int, packed: int) -> None:
    """FrameError where a header speaks of an image (slow, fast) that cannot be; asked before memory is taken.

    ``itemsize``: bytes a pixel in memory; ``stored``: bytes of the file, 0 where nothing is yet; ``packed``: how many
    times more than that an image may have that is not small.
    """
    pixels = prod(int(size) for size in shape)
    if pixels > LARGEST_IMAGE:
        raise FrameError(f"the header speaks of {pixels} pixels")
    if stored and (size := pixels * itemsize) > max(CREDIBLE, packed * stored):
        raise FrameError(f"the header speaks of {size} bytes where {stored} are stored")


def check_count(frames: int) -> None:
    """FrameError where a header speaks of more frames than a file can be meant to have."""
    if frames > LONGEST_STACK:
        raise FrameError(f"the header speaks of {frames} frames")
