"""The bits of a mask, and numbers that compiled loops compare with."""

from __future__ import annotations

import numpy as np

USER, DETECTOR, EDGE, LOWER, UPPER, OUTLIER, NOT_FINITE = (np.uint8(1 << bit) for bit in range(7))


# ---------------------------------------------------------------------------------------------------- automatic mask

GOOD = np.uint8(0)


NAN, INF = np.float32(np.nan), np.float32(np.inf)


BLOCK = 1024  # pixels that stay in the first level cache between two loops


RUN = 16  # pixels that are sampled together, a cache line of them


LOWEST_KEY, HIGHEST_KEY = np.int32(-(2**31)), np.int32(2**31 - 1)
