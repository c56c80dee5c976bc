"""Types and views of arrays."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

Scalar = TypeVar("Scalar", bound=np.generic)


def read_only(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """Return a contiguous read-only view of an array.

    Compiled code is specialized once for read-only arrays, whether or not the array itself is writeable.
    """
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
