"""``xrdpipe inspect``: show the content of image files."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
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
from ..report.tables import show

PERCENTILES = (1, 50, 99)
MAX_KEYS = 40  # keys of a header that are shown


@dataclass(frozen=True)
class Inspected:
    """Content of an image file or of a part of it.

    Attributes
    ----------
    name
        Location of the file or part.
    count
        Number of frames.
    image
        First frame, raw, of shape (slow, fast).
    statistics
        Statistics of the first frame. Pixels that are not finite or hold the largest value of an unsigned type are
        excluded and counted separately.
    header
        First keys of the header of the first frame.
    datasets
        Datasets of an HDF5 file that may hold images, path -> shape and type.
    used
        Path of the dataset that holds the frames.
    masked
        Number of pixels in the pixel mask of the file; None without a mask.
    notes
        Messages to the user.
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

    def values(self) -> dict[str, Any]:
        """Return the content as plain values, without the image."""
        plain = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "image"}
        return {**plain, "shape": list(self.image.shape), "dtype": str(self.image.dtype)}

    def rows(self) -> list[tuple[str, str]]:
        """Return the rows of a table: pairs of a label and a text."""
        shape = " x ".join(map(str, self.image.shape))
        rows = [("frames", str(self.count)), ("shape", f"{shape} (slow x fast)"), ("type", str(self.image.dtype))]
        rows += [("used", self.used)] if self.used else []
        rows += [("datasets", f"{name}: {content}") for name, content in self.datasets.items()]
        rows += [("first frame", f"{name}: {value:.6g}") for name, value in self.statistics.items()]
        if self.masked is not None:
            rows.append(("pixel mask", f"{self.masked} pixels, {100 * self.masked / self.image.size:.2f} %"))
        rows += [("header", f"{key}: {' '.join(str(value).split())[:200]}") for key, value in self.header.items()]
        return rows + [("note", note) for note in self.notes]


def inspect(path: str | Path) -> Inspected:
    """Read the content of an image file.

    Parameters
    ----------
    path
        Path of a file or of a part of it, as in ``scan.h5::/entry/data[3]``.

    Raises
    ------
    FrameError
        The file holds no image.
    """
    content = files.list_frames(path)
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
        {key: _value(values, key) for key in islice(values, MAX_KEYS)}
        | ({"...": f"and {len(values) - MAX_KEYS} more"} if len(values) > MAX_KEYS else {}),
        inside,
        first.dataset,
        masked,
        content.notes,
    )


def _value(values: Any, key: str) -> Any:
    try:
        return values[key]
    except KeyError as error:  # a list that does not hold one value per frame
        return f"({str(error.args[0]).partition(': ')[2]})"


def _statistics(image: NDArray[Any]) -> dict[str, float]:
    kind = image.dtype.kind
    bad = {"not finite": ~np.isfinite(image)} if kind == "f" else {}
    if kind == "u":
        bad["the largest number of the type"] = image == np.iinfo(image.dtype).max
    image = image.astype(np.uint8) if kind == "b" else image
    good = image[~np.logical_or.reduce(list(bad.values()))] if bad else image
    statistics: dict[str, float] = {}
    if good.size:
        statistics = {
            "smallest": float(good.min()),
            "largest": float(good.max()),
            "mean": float(good.mean(dtype=float)),
        }
        shares = np.percentile(good, PERCENTILES)
        statistics |= {f"percentile {percent}": float(each) for percent, each in zip(PERCENTILES, shares, strict=True)}
        bad["below zero"] = good < 0
    counts = {f"pixels, {what}": np.count_nonzero(mask) for what, mask in bad.items()}
    return statistics | {what: float(count) for what, count in counts.items() if count}


def thumbnail(content: Inspected) -> bytes:
    """Return a small PNG picture of the first frame: strong pixels are dark, invalid ones coloured."""
    from ..numerics.metrics import REASONS
    from ..stages.plot.preview import preview_png

    mask = np.zeros(content.image.shape, np.uint8)
    if content.image.dtype.kind == "u":
        mask[content.image == np.iinfo(content.image.dtype).max] = 1 << REASONS.index("detector")
    image = content.image.astype(np.float32)
    mask[image < 0] = 1 << REASONS.index("lower")
    mask[~np.isfinite(image)] = 1 << REASONS.index("not_finite")
    return preview_png(image, mask)


def main(arguments: Sequence[str], document: dict[str, Any] | None = None) -> int:
    """Run ``xrdpipe inspect FILE... [thumbnail=true, a folder, or a name.png]``; return 1 if a file is unreadable."""
    words = [word for word in arguments if not word.startswith("thumbnail=") or os.path.lexists(word)]
    thumbnails = [word.partition("=")[2] for word in arguments if word not in words]
    unknown = [word for word in words if "=" in word and not os.path.lexists(word.partition("::")[0])]
    if not words or unknown or len(thumbnails) > 1:
        raise ConfigError("inspect: say xrdpipe inspect FILE... [thumbnail=true, a folder, or a name.png]")
    status = 0
    for path in expand(words):
        try:
            content = inspect(path)
        except FrameError as error:
            print(f"xrdpipe: {path}: {error}", file=sys.stderr)
            if document is not None:
                document.setdefault("files", []).append({"file": path, "error": str(error)})
            status = 1
            continue
        if document is not None:
            document.setdefault("files", []).append({"file": path, **content.values()})
        else:
            _show(content)
        if thumbnails and thumbnails[0].lower() not in ("", "false", "null"):
            picture = _thumbnail_path(thumbnails[0], path)
            write_whole(picture, partial(_write, thumbnail(content)))
            if document is not None:
                document["files"][-1]["thumbnail"] = picture
            else:
                print(f"thumbnail: {picture}")
    files.forget_files()
    return status


def _show(content: Inspected) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False, title=Text(content.name), title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    previous = ""
    for label, text in content.rows():
        table.add_row(Text("" if label == previous else label), Text(text))
        previous = label
    show(table)


def _thumbnail_path(option: str, path: Path) -> Path:
    if option.lower().endswith(".png"):
        return Path(option)
    name = f"{references([path])[0].name}_thumbnail.png"
    return Path(name) if option.lower() == "true" else Path(option, name)


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)
