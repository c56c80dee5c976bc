"""NeXus files of patterns: their content, and series to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from command import FAST

from xrdpipe.model.pattern import Pattern
from xrdpipe.model.record import Record
from xrdpipe.model.series import Series

WORDS = ("poni=data/tiny.poni", "data/*.tiff", *FAST, "output.format=[chi,nxs]", "integ.error_model=poisson")


AXIS = np.linspace(0.5, 5, 7)


def content(path: Path) -> dict[str, Any]:
    """Every dataset and attribute but the date."""
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        found.update({f"{name}@{key}": str(value) for key, value in item.attrs.items()})
        if isinstance(item, h5py.Dataset):
            found[name] = item[()].tobytes() if item.shape else item[()]

    with h5py.File(path) as file:
        file.visititems(visit)
    assert found.pop("entry/reduction/date")
    return found


def frame(number: int, shape: tuple[int, ...] = (7,)) -> tuple[Record, Pattern]:
    name = f"f{number}"
    values = np.random.default_rng(number).normal(size=shape)
    values.flat[2] = np.nan
    return Record(f"data/{name}.tiff", name, "done", hash=f"xxh128:{number:032d}"), Pattern(
        AXIS, values, abs(values), "q_A^-1", method="csr"
    )


def series(folder: Path, count: int, stack: str = "") -> Series:
    names = {f"f{number}": stack for number in range(count)}
    return Series(folder, names, {"program": "xrdpipe", "config": {"integ": {}}}, "Distance: 1", 1e-10, "2026-01-01")
