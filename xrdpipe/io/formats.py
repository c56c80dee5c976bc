"""Text formats of patterns: write them as other programs expect, and read them back; see docs/formats.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.errors import FrameError
from ..model.pattern import Pattern
from ..model.plugins import FORMATS as GROUP
from ..model.plugins import plugins
from .text.table import read_rows, rows_text

Header = Mapping[str, Any]  # provenance of a pattern: name -> text or JSON value
Floats = NDArray[np.float64]
TWO_THETA = {"2th_deg": 1.0, "2th_rad": float(np.degrees(1))}  # factor to degrees

FIT2D_AXES = {  # axis titles of Fit2D; other units keep pyFAI's name
    "2th_deg": "2-Theta Angle (Degrees)",
    "q_nm^-1": "Q (Inverse Nanometres)",
    "r_mm": "Radial Distance (mm)",
    "d_A": "D-spacing (Angstroms)",
}

UNEVEN = 1e-3  # relative deviation that makes steps unequal


class Shared(dict[str, Any]):
    """A value of a header that all frames share and nobody changes; its JSON is made once."""

    @cached_property
    def json(self) -> str:
        """The mapping as JSON."""
        return json.dumps(self)


@dataclass(frozen=True)
class Format:
    """A file format of patterns.

    Attributes
    ----------
    suffix
        Suffix of the files, ``<name><suffix>``.
    text
        Function that returns the text of a pattern.
    read
        Function that returns the radial unit and the columns of a text.
    sigma
        The format requires sigma.
    units
        Radial units that the format supports, () for any.
    """

    suffix: str
    text: Callable[[Pattern, Header], str]
    read: Callable[[str], tuple[str, Floats]]
    sigma: bool = False
    units: tuple[str, ...] = ()


def chi_text(pattern: Pattern, header: Header) -> str:
    """Return our own format: a ``#`` header whose last line names the columns, then the columns as %14.6e.

    The columns are radial, intensity and, with an error model, sigma.
    """
    names = _names(pattern)
    columns = " ".join(f"{name:>14}" for name in names).removeprefix("  ")  # replaced by "# "
    return _comments("#", header, columns) + _rows(pattern, len(names), 14, 6)


def xy_text(pattern: Pattern, header: Header) -> str:
    """Return two columns under the same ``#`` header."""
    columns = " ".join(f"{name:>15}" for name in _names(pattern)[:2]).removeprefix("  ")
    return _comments("#", header, columns) + _rows(pattern, 2, 15, 7)


def xye_text(pattern: Pattern, header: Header) -> str:
    """Return three columns without a header, which every program that knows xye can read."""
    return _rows(pattern, 3, 15, 7)


def xye_topas_text(pattern: Pattern, header: Header) -> str:
    """Return three columns under a header of ``'`` lines, the comments of TOPAS."""
    return _comments("'", header, " ".join(_names(pattern))) + _rows(pattern, 3, 15, 7)


def csv_text(pattern: Pattern, header: Header) -> str:
    """Return a line of column names, then comma-separated numbers (RFC 4180, lines end in LF)."""
    names = _names(pattern)
    rows = _columns(pattern, len(names)).T[~np.isnan(pattern.intensity)]
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    line = ",".join(["%.7e"] * len(names)) + "\n"
    return ",".join(names) + "\n" + (line * len(rows)) % tuple(rows.ravel().tolist())


def fit2d_text(pattern: Pattern, header: Header) -> str:
    """Return Fit2D's format: title, name of the axis, ``Intensity``, number of points; then two columns.

    Blanks in the title become underscores, because GSAS-II takes "q " in these lines for an axis in q.
    """
    rows = _rows(pattern, 2, 15, 7)
    axis = FIT2D_AXES.get(pattern.unit, pattern.unit)
    return f"{'_'.join(_title(header).split())}\n{axis}\nIntensity\n{rows.count(chr(10)):8d}\n{rows}"


def fxye_text(pattern: Pattern, header: Header) -> str:
    """Return GSAS's FXYE with constant steps: title, comments, ``BANK``; then 2theta, intensity, sigma.

    2theta is in centidegrees. Empty bins at both ends are left out.

    Raises
    ------
    FrameError
        If there are empty bins in between or bins of different widths, which the format cannot express.
    """
    filled = np.flatnonzero(~np.isnan(pattern.intensity))
    first, last = (int(filled[0]), int(filled[-1])) if filled.size else (0, -1)
    unit = TWO_THETA[pattern.unit]
    x = pattern.radial[first : last + 1] * unit * 100
    if filled.size < 2:
        raise FrameError("fxye: fewer than two bins with a pixel")
    if filled.size != x.size:
        gap = int(np.setdiff1d(np.arange(first, last), filled)[0])
        where = f"{x.size - filled.size} bins without a pixel, the first at 2theta {pattern.radial[gap] * unit:.4g}"
        raise FrameError(f"fxye: {where}, and FXYE has no gaps; take fewer bins (integ.npt) or output.format=xye")
    step = (x[-1] - x[0]) / (x.size - 1)
    if np.abs(np.diff(x) - step).max() > UNEVEN * step:
        raise FrameError("fxye: the bins are not equally wide; take output.format=xye")
    bank = f"BANK 1 {x.size} {x.size} CONS {x[0]:.6f} {step:.8f} 0 0 FXYE\n"
    form = "%15.6f %15.7e %15.7e\n"
    rows = np.column_stack([x, *_columns(pattern, 3)[1:, first : last + 1]])
    return (
        f"{_title(header)[:80]}\n" + _comments("#", header) + bank + (form * len(rows)) % tuple(rows.ravel().tolist())
    )


def _title(header: Header) -> str:
    """Return the file name of the image, without its hash, on one line."""
    return " ".join(str(header.get("image", "")).rpartition(" ")[0].split()) or "pattern"


def _names(pattern: Pattern) -> list[str]:
    return [pattern.unit, "intensity", "sigma"][: 2 if pattern.sigma is None else 3]


def _comments(mark: str, header: Header, *last: str) -> str:
    values = {key: value.json if isinstance(value, Shared) else value for key, value in header.items()}
    lines = [f"{key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in values.items()]
    return "".join(
        f"{mark} {' '.join(line.splitlines())}\n" for line in [*lines, *last]
    )  # a name may hold a line break


def _require_sigma(pattern: Pattern) -> None:
    if pattern.sigma is None:
        raise FrameError("the pattern has no sigma; say integ.error_model=poisson or output.format=xy")


def _columns(pattern: Pattern, count: int) -> Floats:
    if count == 3:
        _require_sigma(pattern)
    sigma = [] if pattern.sigma is None else [pattern.sigma]
    return np.stack([pattern.radial, pattern.intensity, *sigma][:count])


def _rows(pattern: Pattern, count: int, width: int, precision: int) -> str:
    """Return the bins that have a pixel, one line each, in the order of the axis."""
    if count == 3:
        _require_sigma(pattern)
    columns = [each for each in (pattern.intensity, pattern.sigma) if each is not None]
    return rows_text(pattern.radial, columns[: count - 1], width, precision)


def _hashed(text: str) -> tuple[str, Floats]:
    columns, _, body = text[text.rfind("\n#") + 2 :].partition("\n")
    return columns.split()[0], _table(body)


def _topas(text: str) -> tuple[str, Floats]:
    columns, _, body = text[text.rfind("\n'") + 2 :].partition("\n")
    return columns.split()[0], _table(body)


def _csv(text: str) -> tuple[str, Floats]:
    columns, _, body = text.partition("\n")
    return columns.split(",")[0], _table(body, ",")


def _fit2d(text: str) -> tuple[str, Floats]:
    _, axis, _, _, body = text.split("\n", 4)
    return {words: unit for unit, words in FIT2D_AXES.items()}.get(axis, axis), _table(body)


def _fxye(text: str) -> tuple[str, Floats]:
    table = _table(text[text.index("\nBANK ") + 1 :].partition("\n")[2])
    return "2th_deg", np.column_stack([table[:, 0] / 100, table[:, 1:]])


def _bare(text: str) -> tuple[str, Floats]:
    return "", _table(text)


def _table(text: str, separator: str | None = None) -> Floats:
    if not text.strip():
        raise ValueError("no rows")
    if separator is None and (table := read_rows(text)) is not None:
        return table
    return np.loadtxt(text.splitlines(), delimiter=separator, ndmin=2)


FORMATS = {
    "chi": Format(".chi", chi_text, _hashed),
    "xy": Format(".xy", xy_text, _hashed),
    "csv": Format(".csv", csv_text, _csv),
    "chi_fit2d": Format("_fit2d.chi", fit2d_text, _fit2d),
    "xye_topas": Format("_topas.xye", xye_topas_text, _topas, sigma=True),
    "fxye": Format(".fxye", fxye_text, _fxye, sigma=True, units=tuple(TWO_THETA)),
    "xye": Format(".xye", xye_text, _bare, sigma=True),
}


def format_names() -> list[str]:
    """Return the names of all formats: the built-in ones, then those of plug-ins."""
    return [*FORMATS, *(name for name in plugins(GROUP) if name not in FORMATS)]


def find_format(name: str) -> Format | None:
    """Return a built-in format or one of a plug-in (entry points ``xrdpipe.formats``) by name, or None."""
    if name in FORMATS:
        return FORMATS[name]
    loaded = plugins(GROUP)[name].load() if name in plugins(GROUP) else None
    return loaded if isinstance(loaded, Format) else None


def _formats() -> Iterator[Format]:
    """Yield the built-in formats, then those of plug-ins, which are looked up only when needed."""
    yield from FORMATS.values()
    yield from (form for name in format_names()[len(FORMATS) :] if (form := find_format(name)) is not None)


def format_of(file: str) -> Format | None:
    """Return the format that a file of this name has, or None."""
    matches = [form for form in _formats() if file.endswith(form.suffix)]
    return max(matches, key=lambda form: len(form.suffix), default=None)


def read_pattern(folder: Path, name: str) -> Pattern | None:
    """Read the pattern of a frame from any file of a run, without the empty bins.

    Parameters
    ----------
    folder
        Output folder of the run.
    name
        Name of the frame.

    Returns
    -------
    Pattern or None
        None if there is no readable pattern.
    """
    if not name or Path(name).name != name:  # the name may come from an untrusted run.json
        return None
    for form in _formats():
        try:
            text = (folder / f"{name}{form.suffix}").read_text(encoding="utf-8", errors="replace")
            unit, table = form.read(text)
            if len(table) < 2:
                continue
            sigma = table[:, 2] if table.shape[1] > 2 else None
            return Pattern(table[:, 0], table[:, 1], sigma, unit or _unit(folder / "run.json"))
        except (OSError, ValueError, IndexError):
            continue
    from .nexus_read import read

    return read(folder, name)


@lru_cache(maxsize=64)
def _unit(record: Path) -> str:
    """Return the unit of the patterns of a run, which a file without a header lacks."""
    try:
        return str(json.loads(record.read_text(encoding="utf-8"))["config"]["integ"]["unit"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
