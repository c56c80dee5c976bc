"""Types and views of the arrays that flow."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


Scalar = TypeVar("Scalar", bound=np.generic)


def read_only(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """A contiguous read-only view: compiled code has one form for these, whether the array itself is or not."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
