"""Lattice spacings of phases: pyFAI's calibrants, files of the command line, and what is typed in the page."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ...calibration.others import lattice_spacings
from ...model.errors import ConfigError

LATTICES = {  # numbers of a cell that is typed: angstrom and degrees
    "cubic": "a", "tetragonal": "a c", "hexagonal": "a c", "orthorhombic": "a b c", "rhombohedral": "a alpha",
    "monoclinic": "a b c beta", "triclinic": "a b c alpha beta gamma",
}  # fmt: skip
CENTRINGS = "PIFABCR"
EXPECTED = (
    "the name of a calibrant, d-spacings as in 2.035, 1.762, or a cell as in cubic F 3.524 or hexagonal P 2.95 4.68"
)
MOST_HKL = 100_000  # that are tried; beyond, outer rings are left out
LARGEST_FILE = 1 << 22  # bytes
LARGEST_CELL = 1000.0  # angstrom
LONGEST = 1000  # characters that are typed


class Reflection(NamedTuple):
    """A lattice spacing (angstrom), with Miller indices if they are known."""

    d: float
    hkl: list[int] | None = None


def calibrants() -> list[str]:
    """Return the names of the calibrants that pyFAI knows."""
    from pyFAI.calibrant import names

    return sorted(names(), key=str.lower)


def reflections(phase: str, files: dict[str, Path], least: float) -> list[Reflection]:
    """Return the reflections of a phase, inner rings first.

    Parameters
    ----------
    phase
        Name of a calibrant or of a file, d-spacings, or a cell.
    files
        The files of the command line, by name.
    least
        Smallest spacing that is wanted, angstrom.

    Raises
    ------
    ConfigError
        It is none of these, or a file cannot be read.
    """
    if phase in files:
        found = _of_file(files[phase], least)
    elif phase in calibrants():
        found = _of_calibrant(phase)
    else:
        found = _typed(phase[:LONGEST], least)
    return sorted(found, key=lambda each: -each.d)


def read_file_names(text: str) -> dict[str, Path]:
    """Return the files of ``phase=``, one or [a,b], by base name; ConfigError if one is missing or of no use."""
    paths = [Path(word.strip()).expanduser() for word in text.strip("[]").split(",") if word.strip()]
    files = {path.name: path for path in paths}
    for path in paths:
        _of_file(path, 1.0)
    return files


def _of_calibrant(name: str) -> list[Reflection]:
    from pyFAI.calibrant import CALIBRANT_FACTORY

    calibrant = CALIBRANT_FACTORY(name)
    spacings = lattice_spacings(calibrant).tolist()  # which also reads the file
    known = getattr(getattr(calibrant, "config", None), "reflections", None) or ()
    indices = [[int(index) for index in each.hkl or ()] or None for each in known]
    if len(indices) != len(spacings):
        indices = [None] * len(spacings)
    return [Reflection(*each) for each in zip(spacings, indices, strict=True)]


def _of_file(path: Path, least: float) -> list[Reflection]:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ConfigError(f"phase={path}: larger than {LARGEST_FILE} bytes")
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"phase={path}: cannot be read ({error.strerror})") from error
    if path.suffix.lower() == ".cif":
        return _of_cif(path, text, least)
    lines = (line.partition("#")[0].replace(",", " ").split() for line in text.splitlines())
    try:
        return _spacings(float(words[0]) for words in lines if words)
    except ValueError as error:
        raise ConfigError(f"phase={path}: d-spacings in angstrom expected, one a line ({error})") from error


def _of_cif(path: Path, text: str, least: float) -> list[Reflection]:
    """Return what cell and space group of a CIF allow; structure factors are not computed."""
    try:
        gemmi: Any = importlib.import_module("gemmi")
    except ImportError as error:
        raise ConfigError(f"phase={path}: CIF files need one more package; pip install gemmi") from error
    try:
        structure = gemmi.make_small_structure_from_block(gemmi.cif.read_string(text).sole_block())
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"phase={path}: not a CIF of one structure ({error})") from error
    cell, group = structure.cell, structure.spacegroup
    if group is None or not 1 < cell.volume < LARGEST_CELL**3:
        raise ConfigError(f"phase={path}: no cell, or no space group that is known")
    least = _affordable(least, (cell.a, cell.b, cell.c))
    indices = gemmi.make_miller_array(cell, group, least, math.inf, True)
    found: dict[float, Reflection] = {}
    for hkl in (each for each in indices.tolist() if any(each)):
        spacing = round(cell.calculate_d(hkl), 6)
        found.setdefault(spacing, Reflection(spacing, hkl))
    return list(found.values())


def _typed(text: str, least: float) -> list[Reflection]:
    words = re.split(r"[\s,;]+", text.strip())
    lattice = words[0].lower()
    try:
        if lattice not in LATTICES:
            return _spacings(map(float, words))
        centring = words[1].upper() if len(words) > 1 and words[1].upper() in [*CENTRINGS] else "P"
        numbers = [float(word) for word in words[1:] if word.upper() != centring]
    except ValueError as error:
        raise ConfigError(f"phase={text[:60]}: {EXPECTED}") from error
    return _of_cell(text, lattice, centring, numbers, least)


def _of_cell(text: str, lattice: str, centring: str, numbers: list[float], least: float) -> list[Reflection]:
    from pyFAI.calibrant import Cell

    wanted = LATTICES[lattice].split()
    values = dict(zip(wanted, numbers, strict=False))
    good = len(numbers) == len(wanted) and all(math.isfinite(each) for each in numbers)
    angles = {"alpha", "beta", "gamma"}
    if not good or not all(0 < value < (180 if name in angles else LARGEST_CELL) for name, value in values.items()):
        raise ConfigError(f"phase={text[:60]}: {lattice} takes {LATTICES[lattice]} (angstrom, degrees)")
    make = getattr(Cell, lattice, None)
    cell = Cell(*numbers, lattice_type=centring) if make is None else make(*numbers, lattice_type=centring)
    try:
        possible = cell.volume > 0
    except ValueError:  # the root of a negative number
        possible = False
    if not possible:
        raise ConfigError(f"phase={text[:60]}: no cell has these angles")
    least = _affordable(least, (cell.a, cell.b, cell.c))
    if hasattr(cell, "d_spacing"):  # before pyFAI 2025.12
        families = {each[0]: each[1:] for each in cell.d_spacing(least).values()}
    else:
        families = cell.calculate_dspacing(least)
    return [Reflection(float(d), [int(index) for index in max(family)]) for d, family in families.items()]


def _affordable(least: float, lengths: tuple[float, float, float]) -> float:
    """Return the smallest spacing down to which there are at most `MOST_HKL` indices to try."""
    while math.prod(2 * math.ceil(length / least) + 1 for length in lengths) > MOST_HKL:
        least *= 1.05
    return least


def _spacings(numbers: Iterable[float]) -> list[Reflection]:
    spacings = set(numbers)
    if not spacings or not all(math.isfinite(each) and each > 0 for each in spacings):
        raise ValueError("no spacings > 0")
    return [Reflection(each) for each in spacings]
