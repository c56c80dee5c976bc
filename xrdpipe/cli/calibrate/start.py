"""What a calibration begins with: detector, wavelength, calibrant, and what stays as it is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...calibration.calibrate import FIXED
from ...calibration.refine import NAMES
from ...config.settings import Settings
from ...geometry.poni import Poni
from ...io.header import header
from ...io.paths import expand_user
from ...model.errors import ConfigError, nearest
from ...model.reference import Reference
from .words import LONGEST, SHORTEST, Words

ORDER = ("poni_version", "detector", "detector_config", "distance", "poni1", "poni2", "rot1", "rot2", "rot3")
LAST = ("splinefile", "wavelength")


def fixed(words: Words, started: bool) -> tuple[str, ...]:
    """Return the names of the parameters that keep their values; ConfigError where there is no value to keep."""
    own = [name for name in words.fix if name not in FIXED]
    if own and not started:
        raise ConfigError(f"fix: {', '.join(own)} needs a value to keep; say poni=start.poni")
    fix = tuple(name for name in NAMES if (name in FIXED or name in words.fix) and name not in words.fit)
    if len(fix) == len(NAMES):
        raise ConfigError("fix: nothing is left to refine")
    for name in words.bounds:
        if name in fix:
            raise ConfigError(f"bounds.{name}: {name} is not refined; say fit=[{name}], or leave the bounds out")
    return fix


def begin(words: Words, start: Poni | None, settings: Settings, shape: tuple[int, int], image: Reference) -> Poni:
    """Return the calibration to begin with: its detector is right, its wavelength too if it has one."""
    if start is None:
        if not words.detector and not words.pixel:
            raise ConfigError("detector: missing; say detector=Pilatus1M, or pixel=[2e-4,2e-4] (m), or poni=start.poni")
        if extra := set(settings.geometry.changed) - {"orientation"}:
            raise ConfigError(f"geometry.{min(extra)}: there is no poni to change; say wavelength= or pixel=")
        values: dict[str, str] = {"distance": "1", "poni1": "0", "poni2": "0", "rot1": "0", "rot2": "0", "rot3": "0"}
    else:
        values = {key: value for key, value in start.values.items() if not key.startswith("pixelsize")}
        if "detector" not in values:
            pixels = {f"pixel{n}": float(start.values[f"pixelsize{n}"]) for n in (1, 2)}
            values |= {"detector": "Detector", "detector_config": json.dumps(pixels)}
    config = json.loads(values.get("detector_config", "{}"))
    orientation = settings.geometry.orientation or config.get("orientation") or 3
    if words.detector:
        from pyFAI.detectors import ALL_DETECTORS

        if words.detector.lower() not in ALL_DETECTORS:
            raise ConfigError(f"detector={words.detector}: unknown; {nearest(words.detector.lower(), ALL_DETECTORS)}")
        values["detector"], config = words.detector, {}
    if words.pixel:
        slow, fast = words.pixel
        values["detector"], config = "Detector", {"pixel1": slow, "pixel2": fast, "max_shape": list(shape)}
    values["detector_config"] = json.dumps({**config, "orientation": orientation})
    values["poni_version"] = "2.1"
    values.pop("wavelength", None)
    poni = Poni(settings.poni or "start", poni_text(values)).checked()
    wavelength = _wavelength(words, start, image)
    return poni if wavelength is None else with_wavelength(poni, wavelength)


def with_wavelength(poni: Poni, wavelength: float) -> Poni:
    """Return a calibration with a wavelength, m."""
    return Poni(poni.path, poni_text({**poni.values, "wavelength": repr(float(wavelength))})).checked()


def _wavelength(words: Words, start: Poni | None, image: Reference) -> float | None:
    """Return the wavelength in m; None where the distances have to tell it."""
    if words.wavelengths:
        return words.wavelengths[0]
    if words.wavelength is not None:
        return words.wavelength
    if start is not None and start.wavelength is not None:
        return start.wavelength
    for key in ("wavelength", "incident_wavelength"):
        value = header(image).get(key, 0.0)
        if isinstance(value, (int, float)):
            for unit in (1.0, 1e-10):  # m, or angstrom: the two are far apart
                if SHORTEST <= value * unit <= LONGEST:
                    return float(value * unit)
    if words.distances and "wavelength" in words.fit:
        return None
    raise ConfigError(
        "wavelength: missing, and not in the header of the frame; say wavelength=1.665e-11 (m) or energy=74.5 (keV), "
        "or distances=[...] of several frames and fit=[wavelength]"
    )


def calibrant_at(name: str, wavelength: float) -> Any:
    """Return the calibrant of pyFAI, by its name or from a file of d-spacings; ConfigError if there is none."""
    from pyFAI.calibrant import ALL_CALIBRANTS, Calibrant

    path = expand_user(name)
    if os.path.isfile(path):
        made = Calibrant(None, _spacings(name, path))
    elif name in ALL_CALIBRANTS.keys():  # noqa: SIM118 - it is no mapping
        made = ALL_CALIBRANTS(name)
    else:
        known = sorted(ALL_CALIBRANTS.keys())
        raise ConfigError(f"calibrant={name}: neither a file nor known; {nearest(name, known)}")
    made.wavelength = wavelength
    if len(made.get_2th()) < 3:
        raise ConfigError(f"calibrant={name}: fewer than three rings at this wavelength")
    return made


def _spacings(name: str, path: str) -> list[float]:
    """Read d-spacings: the first number of each line; what follows # is a comment, as in pyFAI's files."""
    spacings = []
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                if text := line.partition("#")[0].replace(",", " ").split():
                    spacings.append(float(text[0]))
    except (OSError, ValueError) as error:
        raise ConfigError(f"calibrant={name}: cannot be read ({error}); d-spacings expected, one a line") from error
    if not spacings or not all(np.isfinite(each) and each > 0 for each in spacings):
        raise ConfigError(f"calibrant={name}: holds no d-spacings, in angstrom, one a line")
    return sorted(set(spacings), reverse=True)


def poni_text(values: Mapping[str, str], comments: Sequence[str] = ()) -> str:
    """Return the text of a PONI file, from values by key in lower case."""
    keys = [key for key in (*ORDER, *LAST) if key in values]
    lines = [f"{key.capitalize() if key != 'poni_version' else key}: {values[key]}" for key in keys]
    return "".join(f"{line}\n" for line in [*(f"# {' '.join(each.split())}" for each in comments), *lines])
