"""Words of the calibrate command that a run does not have, and their values."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ...calibration.refine import NAMES
from ...model.errors import ConfigError, choice, nearest

USAGE = "xrdpipe calibrate calibrant=CeO2 wavelength=1.665e-11 detector=Pilatus1M FRAME save=geometry.poni"
KEYS = (
    "calibrant", "wavelength", "energy", "detector", "pixel", "fix", "fit", "save", "distances", "energies"
)  # fmt: skip
BOUNDS = "bounds."
SHORTEST, LONGEST = 1e-12, 1e-9  # m, of a wavelength
KEV = 12.398419843320026e-10  # m times keV: wavelength times energy


@dataclass(frozen=True)
class Words:
    """What the user says besides the keys of a run.

    Attributes
    ----------
    calibrant
        Name in pyFAI, or a file of d-spacings.
    save
        File that is written; None if it is not said.
    wavelength
        In m; None if neither it nor the energy is said.
    detector
        Name in pyFAI; None if it is not said.
    pixel
        Size of a pixel, (slow, fast), m; None if it is not said.
    fix, fit
        Names of parameters.
    bounds
        Lowest and highest value of parameters, m and rad.
    distances
        Of each frame, m; empty if they are not said.
    wavelengths
        Of each frame, m, from ``energies=``; empty if they are not said.
    """

    calibrant: str
    save: str | None
    wavelength: float | None
    detector: str | None
    pixel: tuple[float, float] | None
    fix: tuple[str, ...]
    fit: tuple[str, ...]
    bounds: Mapping[str, tuple[float, float]]
    distances: tuple[float, ...]
    wavelengths: tuple[float, ...]


def split_words(arguments: Sequence[str]) -> tuple[Words, list[str]]:
    """Return the values of the keys that this command alone has, and the other words.

    Raises
    ------
    ConfigError
        A value is missing, wrong, or contradicts another one.
    """
    given: dict[str, str] = {}
    others = []
    for word in arguments:
        key, equals, value = word.partition("=")
        if not equals or not (key in KEYS or key.startswith(BOUNDS)) or os.path.lexists(word):
            if equals and not os.path.lexists(word) and get_close_matches(key, (*KEYS, "bounds"), 1, 0.8):
                raise ConfigError(f"{key}: no such key; {nearest(key, (*KEYS, 'bounds.dist'))}")
            others.append(word)
            continue
        if key in given or not value:
            raise ConfigError(f"{key}: say it once, with a value, as in {USAGE}")
        given[key] = value
    for one, other in (("detector", "pixel"), ("wavelength", "energy"), ("distances", "energies")):
        if one in given and other in given:
            raise ConfigError(f"{other}={given[other]}: together with {one}={given[one]}; choose one")
    for key in ("wavelength", "energy"):
        if key in given and "energies" in given:
            raise ConfigError(f"{key}={given[key]}: together with energies={given['energies']}; choose one")
    if "calibrant" not in given:
        raise ConfigError(f"calibrant: missing, as in {USAGE}")
    fix, fit = (_names(key, given.get(key, "[]")) for key in ("fix", "fit"))
    if both := set(fix) & set(fit):
        raise ConfigError(f"fit: {', '.join(sorted(both))} is in fix as well; choose one")
    if "rot3" in fit:
        raise ConfigError("fit: rot3 turns about the beam, which no ring shows")
    if "wavelength" in fit and "energies" in given:
        raise ConfigError("fit: the wavelengths are known with energies=; leave wavelength out")
    words = Words(
        given["calibrant"],
        given.get("save"),
        _wavelength(given),
        given.get("detector"),
        _pixel(given["pixel"]) if "pixel" in given else None,
        fix,
        fit,
        {key.removeprefix(BOUNDS): _bounds(key, text) for key, text in given.items() if key.startswith(BOUNDS)},
        _distances(given["distances"]) if "distances" in given else (),
        _energies("energies", given["energies"]) if "energies" in given else (),
    )
    return words, others


def _names(key: str, text: str) -> tuple[str, ...]:
    names = tuple(name for name in _parts(text) if name)
    for name in names:
        choice(key, name, NAMES)
    return names


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.strip().removeprefix("[").removesuffix("]").split(",")]


def _numbers(text: str) -> list[float]:
    """Return the numbers of a list; nothing if one of them is none."""
    try:
        return [float(part) for part in _parts(text)]
    except ValueError:
        return []


def _wavelength(given: Mapping[str, str]) -> float | None:
    if "energy" in given:
        values = _energies("energy", given["energy"])
        if len(values) != 1:
            raise ConfigError(f"energy={given['energy']}: one energy expected; one for each frame is energies=")
        return values[0]
    if "wavelength" not in given:
        return None
    numbers = _numbers(given["wavelength"])
    if len(numbers) != 1 or not SHORTEST <= numbers[0] <= LONGEST:
        raise ConfigError(
            f"wavelength={given['wavelength']}: m expected, as in wavelength=1.665e-11; or energy= in keV"
        )
    return numbers[0]


def _energies(key: str, text: str) -> tuple[float, ...]:
    numbers = _numbers(text)
    if not numbers or not all(number > 0 and SHORTEST <= KEV / number <= LONGEST for number in numbers):
        example = "energy=74.5" if key == "energy" else "energies=[60,74.5]"
        raise ConfigError(f"{key}={text}: keV expected, as in {example}")
    return tuple(KEV / number for number in numbers)


def _pixel(text: str) -> tuple[float, float]:
    sizes = _numbers(text)
    if len(sizes) != 2 or not all(1e-7 < each < 1e-2 for each in sizes):
        raise ConfigError(f"pixel={text}: two lengths in m expected, as in pixel=[2e-4,2e-4]")
    return sizes[0], sizes[1]


def _distances(text: str) -> tuple[float, ...]:
    distances = _numbers(text)
    if not distances or not all(0 < each < 1000 for each in distances):
        raise ConfigError(f"distances={text}: m expected, one for each frame, as in distances=[0.2,0.4]")
    if len(set(distances)) != len(distances):
        raise ConfigError(f"distances={text}: two are the same; merge frames at one distance with source.average=N")
    return tuple(distances)


def _bounds(key: str, text: str) -> tuple[float, float]:
    name = key.removeprefix(BOUNDS)
    if name not in NAMES:
        raise ConfigError(f"{key}: no such parameter; {nearest(name, NAMES)}")
    numbers = _numbers(text)
    if len(numbers) != 2 or not numbers[0] < numbers[1]:
        unit = "m" if name in ("dist", "poni1", "poni2", "wavelength") else "rad"
        raise ConfigError(
            f"{key}={text}: the lowest and the highest value ({unit}) expected, as in bounds.dist=[0.1,0.3]"
        )
    return numbers[0], numbers[1]
