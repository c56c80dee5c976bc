"""Bits of a mask, and constants of the compiled loops."""

from __future__ import annotations

import numpy as np

USER, DETECTOR, EDGE, LOWER, UPPER, OUTLIER, NOT_FINITE = (np.uint8(1 << bit) for bit in range(7))
GOOD = np.uint8(0)
NAN, INF = np.float32(np.nan), np.float32(np.inf)
RUN = 16  # pixels in a cache line, which are sampled together
LOWEST_KEY, HIGHEST_KEY = np.int32(-(2**31)), np.int32(2**31 - 1)
