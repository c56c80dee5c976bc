"""Calibrations of other programs, and single values that replace those of a `poni.Poni`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..model.errors import ConfigError, nearest, require
from ..numerics.expression import TABLE, Expression
from .goniometer import is_goniometer, parse_goniometer

LARGEST = 1_000_000  # bytes; a real PONI file has a few hundred, a configuration a few thousand
HDF5 = b"\x89HDF\r\n\x1a\n"
_KEYS = {"dist": "distance"}  # name of a value here -> its name in a PONI file, if they differ
_OF_DETECTOR = ("pixel1", "pixel2", "orientation")
_SENSOR = {"sensor_material": "material", "sensor_thickness": "thickness"}  # name here -> in pyFAI's sensor
_PARALLAX = 3  # version of PONI files that have it, and a sensor
_MOVING = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
_OTHERS = ("fit2d", "position")
_FIT2D = ("directDist", "centerX", "centerY", "tilt", "tiltPlanRotation", "pixelX", "pixelY", "wavelength")


@dataclass(frozen=True)
class Calibration:
    """Values that replace those of the PONI file; None keeps the value of the file.

    Attributes
    ----------
    dist, poni1, poni2, wavelength, pixel1, pixel2
        Lengths in m.
    rot1, rot2, rot3
        Angles in rad. These and the lengths but those of a pixel may be texts that are looked up for each frame: an
        `Expression` of values of its header, a path in its HDF5 file, or ``table.csv:column``.
    poni
        Where the PONI file of each frame is named: a header key, a path in its HDF5 file, or ``table.csv:column``.
    position
        Positions of the motors of a `Goniometer`, in its order: where those of each frame are, as for ``rot1``. None
        takes header keys of their names.
    orientation
        Orientation of pyFAI's detectors, 1 to 4.
    parallax
        True: correct positions for the depth at which the sensor absorbs, as pyFAI does.
    sensor_material, sensor_thickness
        Sensor of the detector: a material that pyFAI knows, and m; without a thickness all of the beam is absorbed.
    fit2d
        Parameters of Fit2D in its units (mm, pixels, degrees, micrometres, angstrom). They replace distance, point of
        normal incidence and rotations; with the pixel size, no PONI file is needed.
    """

    dist: Any = None
    poni1: Any = None
    poni2: Any = None
    rot1: Any = None
    rot2: Any = None
    rot3: Any = None
    wavelength: Any = None
    poni: Any = None
    position: Any = None
    pixel1: float | None = None
    pixel2: float | None = None
    orientation: int | None = None
    parallax: bool | None = None
    sensor_material: str | None = None
    sensor_thickness: float | None = None
    fit2d: dict[str, Any] | None = field(default_factory=lambda: dict.fromkeys(_FIT2D))

    def __post_init__(self) -> None:
        for key in _MOVING:
            object.__setattr__(self, key, _value(key, getattr(self, key)))
        motors = self.position if isinstance(self.position, list) else [self.position]
        position = None if self.position is None else [_value("position", each) for each in motors]
        require(position != [] and None not in (position or ()), "position", self.position, "a value for each motor")
        object.__setattr__(self, "position", position)
        good = self.poni is None or (isinstance(self.poni, str) and self.poni != "")
        require(good, "poni", self.poni, "a header key or table.csv:column that names a PONI of each frame expected")
        for key, value in self.changed.items():
            require(isinstance(value, str) or math.isfinite(value), key, value, "a finite number expected")
        for key in ("dist", "wavelength", "pixel1", "pixel2", "sensor_thickness"):
            length = self.changed.get(key)
            require(length is None or length > 0, key, length, "a length in m > 0 expected")
        require(self.orientation in (None, 1, 2, 3, 4), "orientation", self.orientation, "1, 2, 3 or 4 expected")
        for key, value in (self.fit2d or {}).items():
            if key not in _FIT2D:
                raise ConfigError(f"fit2d.{key}: no such key; {nearest(str(key), _FIT2D)}")
            good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            require(good or value is None, f"fit2d.{key}", value, "a number expected")
            positive = key in ("directDist", "pixelX", "pixelY", "wavelength")
            require(value is None or not positive or value > 0, f"fit2d.{key}", value, "a number > 0 expected")
        if missing := [key for key in _FIT2D[:3] if self.numbers and key not in self.numbers]:
            raise ConfigError(f"fit2d.{missing[0]}: missing; directDist (mm), centerX and centerY (pixels) are needed")

    @property
    def numbers(self) -> dict[str, float]:
        """Parameters of Fit2D that are set."""
        return {key: float(value) for key, value in (self.fit2d or {}).items() if value is not None}

    @property
    def changed(self) -> dict[str, Any]:
        """Values that are set for all frames, those of Fit2D and of motors excluded."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in _OTHERS}
        return {key: value for key, value in values.items() if value is not None and key not in self.lookups}

    @property
    def lookups(self) -> dict[str, str]:
        """Texts that are looked up for each frame."""
        return {key: value for key in ("poni", *_MOVING) if isinstance(value := getattr(self, key), str)}

    def positions(self, motors: Sequence[str]) -> dict[str, str]:
        """Return where the positions of motors are, ``position.<motor>`` -> text; ConfigError for another number."""
        given = [f"header[{motor!r}]" for motor in motors] if self.position is None else self.position
        expected = f"a value for each motor expected, {', '.join(motors)}"
        require(len(given) == len(motors), "geometry.position", given, expected)
        return {f"position.{motor}": str(each) for motor, each in zip(motors, given, strict=True)}


def _value(key: str, value: Any) -> float | str | None:
    """Return a value as it is used: a number, or the text of a lookup."""
    good = value is None or (isinstance(value, (int, float, str)) and not isinstance(value, bool) and value != "")
    require(good, key, value, "a number, an expression of header values or table.csv:column expected, or null")
    try:
        return None if value is None else float(value)
    except ValueError:
        if not value.startswith("/") and not TABLE.fullmatch(value):
            Expression(key, value)
        return str(value)


def split_poni_path(path: str) -> tuple[Path, str]:
    """Split ``file.nxs::/entry/pyFAI`` into the file and the path in it, which may be empty."""
    if os.path.exists(path):
        return Path(path), ""
    file, _, inside = path.partition("::")
    return Path(file), inside


def content(path: str) -> str:
    """Return the text of a PONI file or of a JSON configuration of pyFAI, or of either in a NeXus file.

    Parameters
    ----------
    path
        File; a NeXus file may be followed by the path in it, ``file.nxs::/entry/pyFAI``.

    Raises
    ------
    ConfigError
        If there is no calibration.
    """
    file, inside = split_poni_path(path)
    if not os.path.exists(file):
        raise ConfigError(f"poni={path}: no such file; xrdpipe calibrate makes one from a frame of a calibrant")
    if not os.path.isfile(file):
        raise ConfigError(f"poni={path}: not a file")
    try:
        with open(file, "rb") as stream:
            if stream.read(len(HDF5)) == HDF5:
                return _in_nexus(file, inside, path)
        if inside:
            raise ConfigError(f"poni={path}: {file} is no HDF5 file, so there is nothing inside")
        size = file.stat().st_size
        if size > LARGEST:
            raise ConfigError(f"poni={path}: {size} bytes; this is no PONI file")
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"poni={path}: not a text file, so no PONI file") from error
    except OSError as error:
        raise ConfigError(f"poni={path}: cannot be read ({error.strerror or error})") from error


def parsed(text: str) -> dict[str, str]:
    """Parse the text of a calibration.

    In PONI text, the last value of a key counts, as in pyFAI. JSON is that of pyFAI-integrate and pyFAI-calib2 (all
    versions), of pyFAI's ``PoniFile.as_dict``, or a `Goniometer`, which has no position of the detector.

    Returns
    -------
    dict
        Key (lower case, as in a PONI file) -> value.

    Raises
    ------
    ValueError
        If the text is neither.
    """
    if is_goniometer(text):
        values = dict(parse_goniometer(text).poni)
    elif text.lstrip().startswith("{"):
        values = {_KEYS.get(key.lower(), key.lower()): _word(value) for key, value in _settings(text).items()}
    else:
        lines = (line for line in text.splitlines() if ":" in line and not line.lstrip().startswith("#"))
        pairs = (line.split(":", 1) for line in lines)
        values = {key.strip().lower(): value.strip() for key, value in pairs}
    return {key: value for key, value in values.items() if value != "None"}


def with_changes(values: Mapping[str, str], changed: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of a PONI file with those of a `Calibration` in their place.

    Parameters
    ----------
    values
        Key of a PONI file -> value.
    changed
        Name in `Calibration` -> value.

    Raises
    ------
    ValueError
        If the detector does not allow the change.
    """
    merged = {
        **values,
        **{_KEYS.get(key, key): repr(value) for key, value in changed.items() if key in _MOVING},
    }
    detector_values = {key: value for key, value in changed.items() if key in _OF_DETECTOR}
    sensor = {pyfai: changed[key] for key, pyfai in _SENSOR.items() if key in changed}
    if not detector_values and not sensor and "parallax" not in changed:
        return merged
    detector, sizes = merged.get("detector", "Detector"), set(detector_values) - {"orientation"}
    if sizes and detector != "Detector":
        raise ValueError(f"geometry.{min(sizes)}: the pixels of a {detector} have their size")
    config = json.loads(merged.get("detector_config", "{}"))
    for key in ("pixel1", "pixel2"):  # keys of version 1
        if (size := merged.pop(f"pixelsize{key[-1]}", None)) is not None:
            config[key] = float(size)
    if sensor:
        config["sensor"] = {**(config.get("sensor") or {}), **sensor}
    version = 2.1 if "orientation" in {**config, **detector_values} else 2.0
    if "parallax" in changed:
        config.setdefault("orientation", 3)  # pyFAI's default, which this version has to name
        version, merged["parallax"] = _PARALLAX, str(changed["parallax"])
    return merged | {
        "poni_version": str(max(version, float(merged.get("poni_version", 1)))),
        "detector": detector,
        "detector_config": json.dumps({**config, **detector_values}),
    }


def from_fit2d(numbers: Mapping[str, float], values: Mapping[str, str]) -> str:
    """Return PONI text for parameters of Fit2D.

    Uses pyFAI's ``convert_from_Fit2d`` (Hammersley *et al.*, High Pressure Research 14 (1996), 235-248).

    Parameters
    ----------
    numbers
        Parameters of Fit2D in its units.
    values
        Values of a PONI file, which provide the detector, and the wavelength if ``numbers`` has none; may be empty.

    Raises
    ------
    ConfigError
        If the pixel size is missing, or contradicts the detector.
    """
    from pyFAI.geometry.fit2d import convert_from_Fit2d
    from pyFAI.io.ponifile import PoniFile

    detector = PoniFile(dict(values)).detector if values else None
    sized = {"pixelX", "pixelY"} <= set(numbers)
    if not sized and (detector is None or not detector.pixel1):
        raise ConfigError("geometry.fit2d.pixelX: missing; say pixelX and pixelY (micrometres), or poni")
    if sized and detector is not None and type(detector).__name__ != "Detector":
        raise ConfigError("geometry.fit2d.pixelX: the pixels of the PONI's detector have their size")
    if not sized and detector is not None:
        numbers = {**numbers, "pixelX": detector.pixel2 * 1e6, "pixelY": detector.pixel1 * 1e6}
    converted = convert_from_Fit2d({**numbers, "detector": None})
    config = {"pixel1": numbers["pixelY"] * 1e-6, "pixel2": numbers["pixelX"] * 1e-6, "max_shape": None}
    detector_values = {} if sized else {key: values[key] for key in ("detector", "detector_config") if key in values}
    lines = {
        "poni_version": values.get("poni_version", 2) if detector_values else 2,
        "detector": "Detector",
        "detector_config": json.dumps(config if not detector_values or "detector" not in detector_values else {}),
        **detector_values,
        "distance": converted.dist,
        "poni1": converted.poni1,
        "poni2": converted.poni2,
        "rot1": converted.rot1,
        "rot2": converted.rot2,
        "rot3": converted.rot3,
        "wavelength": numbers["wavelength"] * 1e-10 if "wavelength" in numbers else values.get("wavelength"),
    }
    return "".join(f"{key.capitalize()}: {value}\n" for key, value in lines.items() if value is not None)


def _settings(text: str) -> dict[str, Any]:
    config = json.loads(text)
    if isinstance(config.get("poni"), dict):  # version 4 and later
        return dict(config["poni"])
    if isinstance(config.get("poni"), str):
        raise ValueError(f"it names another file, {config['poni']}: say poni={config['poni']}")
    if "detector_config" in config:  # versions 2 and 3, and PoniFile.as_dict
        return dict(config)
    name = str(config.get("detector") or "Detector")  # version 1
    unnamed = name.lower() == "detector"
    detector_config = {"pixel1": config.get("pixel1"), "pixel2": config.get("pixel2"), "max_shape": config.get("shape")}
    return {
        **config,
        "detector": "Detector" if unnamed else name,
        "detector_config": detector_config if unnamed else {},
    }


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def _in_nexus(file: Path, inside: str, path: str) -> str:
    import h5py

    try:
        with h5py.File(file, "r") as root:
            node = root[inside or "/"]
            notes = _notes(node) if isinstance(node, h5py.Group) else {inside: _string(node)}
    except KeyError as error:
        raise ConfigError(f"poni={path}: there is no {inside} in {file}") from error
    texts = {where: text for where, text in notes.items() if "poni1" in text.lower()}
    if not texts:
        raise ConfigError(f"poni={path}: no geometry in it, neither a PONI nor a configuration of pyFAI")
    if len(set(texts.values())) > 1:
        raise ConfigError(
            f"poni={path}: several geometries, {', '.join(texts)}; say which, {file}::{next(iter(texts))}"
        )
    return next(iter(texts.values()))


def _notes(group: Any) -> dict[str, str]:
    """Return texts in a group: pyFAI stores them as <process>/poni/data or <process>/configuration/data."""
    import h5py

    def texts(place: Any, depth: int) -> Iterator[tuple[str, str]]:
        for name in place:
            item = place.get(name) if place.get(name, getlink=True).__class__ is h5py.HardLink else None
            if isinstance(item, h5py.Group) and depth:
                yield from texts(item, depth - 1)
            elif isinstance(item, h5py.Dataset):
                yield item.name, _string(item)

    return {where: text for where, text in texts(group, 5) if text}


def _string(dataset: Any) -> str:
    if dataset.size != 1 or dataset.dtype.kind not in "OS":
        return ""
    value = dataset.asstr()[()] if dataset.dtype.kind == "O" else dataset[()]
    value = value.item() if hasattr(value, "item") else value
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= LARGEST else ""
