"""Inspect: what is inside a file, before anything is made of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..io import files, hdf5, hdf5_layout
from ..io.files import references
from ..io.header import header
from ..io.paths import expand
from ..io.writing import write_whole
from ..model.errors import ConfigError, FrameError

PERCENTILES = (1, 50, 99)


SHOWN = 40  # keys of a header


@dataclass(frozen=True)
class Inspected:
    """What is in a file, or in a part of it: its frames, and the first of them (raw, (slow, fast)).

    ``statistics`` are of the first frame without what is no count (not finite, the largest number of an unsigned type),
    which is counted beside; ``datasets`` all that may be images in an
    HDF5 file, path -> what it is, ``used`` the one that is taken; ``masked`` how many pixels the file's own mask takes,
    None without one.
    """

    name: str
    count: int
    image: NDArray[Any]
    statistics: dict[str, float]
    header: dict[str, Any] = field(default_factory=dict)
    datasets: dict[str, str] = field(default_factory=dict)
    used: str = ""
    masked: int | None = None
    notes: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, str]]:
        """In words: what -> how much."""
        shape = " x ".join(map(str, self.image.shape))
        found = [("frames", str(self.count)), ("shape", f"{shape} (slow x fast)"), ("type", str(self.image.dtype))]
        found += [("used", self.used)] if self.used else []
        found += [("datasets", f"{name}: {what}") for name, what in self.datasets.items()]
        found += [("first frame", f"{what}: {value:.6g}") for what, value in self.statistics.items()]
        if self.masked is not None:
            found.append(("pixel mask", f"{self.masked} pixels, {100 * self.masked / self.image.size:.2f} %"))
        found += [("header", f"{key}: {' '.join(str(value).split())[:200]}") for key, value in self.header.items()]
        return found + [("note", note) for note in self.notes]


def inspect(path: str | Path) -> Inspected:
    """Look into a file, or a part of it (``scan.h5::/entry/data[3]``); FrameError where there is no image in it."""
    content = files.look(path)
    if not content.references:
        raise FrameError("; ".join(content.notes))
    first = content.references[0]
    image, _ = files.read(first)
    inside: dict[str, str] = {}
    masked = None
    if first.dataset:
        inside = {
            name: f"{' x '.join(map(str, shape))} {dtype}" for name, shape, dtype in hdf5_layout.candidates(first.path)
        }
        shape = (image.shape[0], image.shape[1])
        mask = hdf5.pixel_mask(first.path, shape)
        masked = None if mask is None else int(np.count_nonzero(mask))
    values = header(first)
    return Inspected(
        first.location if len(content.references) == 1 else str(path),
        len(content.references),
        image,
        _statistics(image),
        {key: _value(values, key) for key in islice(values, SHOWN)}
        | ({"...": f"and {len(values) - SHOWN} more"} if len(values) > SHOWN else {}),
        inside,
        first.dataset,
        masked,
        content.notes,
    )


def _value(values: Any, key: str) -> Any:
    try:
        return values[key]
    except KeyError as error:  # a list that is not one value a frame
        return f"({str(error.args[0]).partition(': ')[2]})"


def _statistics(image: NDArray[Any]) -> dict[str, float]:
    kind = image.dtype.kind
    bad = {"not finite": ~np.isfinite(image)} if kind == "f" else {}
    if kind == "u":
        bad["the largest number of the type"] = image == np.iinfo(image.dtype).max
    image = image.astype(np.uint8) if kind == "b" else image
    good = image[~np.logical_or.reduce(list(bad.values()))] if bad else image
    found: dict[str, float] = {}
    if good.size:
        found = {"smallest": float(good.min()), "largest": float(good.max()), "mean": float(good.mean(dtype=float))}
        shares = np.percentile(good, PERCENTILES)
        found |= {f"percentile {percent}": float(each) for percent, each in zip(PERCENTILES, shares, strict=True)}
        bad["below zero"] = good < 0
    counts = {f"pixels, {what}": np.count_nonzero(mask) for what, mask in bad.items()}
    return found | {what: float(count) for what, count in counts.items() if count}


def thumbnail(seen: Inspected) -> bytes:
    """A small picture (PNG) of the first frame, strong pixels dark; what is no count is in colour."""
    from ..numerics.metrics import REASONS
    from ..stages.plot.preview import preview_png

    mask = np.zeros(seen.image.shape, np.uint8)
    if seen.image.dtype.kind == "u":
        mask[seen.image == np.iinfo(seen.image.dtype).max] = 1 << REASONS.index("detector")
    image = seen.image.astype(np.float32)
    mask[image < 0] = 1 << REASONS.index("lower")
    mask[~np.isfinite(image)] = 1 << REASONS.index("not_finite")
    return preview_png(image, mask)


def main(arguments: Sequence[str]) -> int:
    """``xrdpipe inspect FILE... [thumbnail=true, a folder, or a name.png]``; 1 where a file cannot be read."""
    words = [word for word in arguments if not word.startswith("thumbnail=") or os.path.lexists(word)]
    wanted = [word.partition("=")[2] for word in arguments if word not in words]
    unknown = [word for word in words if "=" in word and not os.path.lexists(word.partition("::")[0])]
    if not words or unknown or len(wanted) > 1:
        raise ConfigError("inspect: say xrdpipe inspect FILE... [thumbnail=true, a folder, or a name.png]")
    status = 0
    for path in expand(words):
        try:
            seen = inspect(path)
        except FrameError as error:
            print(f"xrdpipe: {path}: {error}", file=sys.stderr)
            status = 1
            continue
        _show(seen)
        if wanted and wanted[0].lower() not in ("", "false", "null"):
            picture = _picture(wanted[0], path)
            write_whole(picture, partial(_write, thumbnail(seen)))
            print(f"thumbnail: {picture}")
    files.forget_files()
    return status


def _show(seen: Inspected) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False, title=Text(seen.name), title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    before = ""
    for what, told in seen.rows():
        table.add_row(Text("" if what == before else what), Text(told))
        before = what
    Console().print(table)


def _picture(wanted: str, path: Path) -> Path:
    if wanted.lower().endswith(".png"):
        return Path(wanted)
    name = f"{references([path])[0].name}_thumbnail.png"
    return Path(name) if wanted.lower() == "true" else Path(wanted, name)


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)
