"""Calibrate: the PONI of a detector from one frame of a calibrant, without a click."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..calibration.calibrate import FIXED, Calibrated, calibrate
from ..calibration.orientations import turned
from ..calibration.refine import NAMES
from ..config.arguments import parse
from ..config.loader import Loader, force_overrides, to_builtin
from ..config.settings import Settings, as_list, parse_settings
from ..execution.plan import geometry_file
from ..geometry.geometry import Geometry
from ..geometry.poni import Poni
from ..io.files import references
from ..io.header import header
from ..io.paths import expand, expand_user
from ..io.writing import write_text
from ..model.errors import ConfigError, FrameError, choice, nearest
from ..model.reference import Reference
from ..pipeline.pipeline import Pipeline
from ..pipeline.recipe import Recipe, prepared
from ..report.tables import print_table
from ..stages.source import frame_shape

USAGE = "xrdpipe calibrate calibrant=CeO2 wavelength=1.665e-11 detector=Pilatus1M FRAME save=geometry.poni"
OWN = ("calibrant", "wavelength", "detector", "pixel", "fix", "fit", "save", "distances", "energies")
SHORTEST, LONGEST = 1e-12, 1e-9  # m, of a wavelength
STRONG = 0.9  # correlation that is printed
UNITS = {"dist": "m", "poni1": "m", "poni2": "m", "wavelength": "m"}


@dataclass(frozen=True)
class _Task:
    """What is asked for: the frame, the calibration to begin with, and what stays as it is in it."""

    settings: Settings
    pipeline: Pipeline
    image: Reference
    shape: tuple[int, int]
    poni: Poni
    started: bool
    calibrant: Any
    fix: tuple[str, ...]


def main(arguments: Sequence[str]) -> int:
    """``xrdpipe calibrate calibrant=... FRAME save=geometry.poni [keys of a run]``.

    Returns
    -------
    int
        The exit status: 0 written; 1 the frame does not decide, so nothing is written.
    """
    own, words = _own(arguments)
    task = _task(own, words)
    save = Path(expand_user(own["save"]))
    _check_file(save, task)
    if task.settings.dry_run:
        print(f"would read {task.image.location}, and write {save}")
        return 0
    try:
        found = _calibrate(task)
    except FrameError as error:
        print(f"xrdpipe: {task.image.location}: not calibrated, nothing is written: {error}", file=sys.stderr)
        return 1
    try:
        write_text(save, _poni_text(_values(found, task), _comments(found, task, own["calibrant"])))
    except OSError as error:
        raise ConfigError(f"save={save}: cannot be written ({error.strerror})") from error
    if not task.settings.quiet:
        _print(found, task, save)
    return 0


def _own(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the values of the keys that this command alone has, and the other words."""
    own: dict[str, str] = {}
    words = []
    for word in arguments:
        key, equals, value = word.partition("=")
        if not equals or key not in OWN or os.path.lexists(word):
            words.append(word)
            continue
        if key in own or not value:
            raise ConfigError(f"{key}: say it once, with a value, as in {USAGE}")
        own[key] = value
    for key in ("distances", "energies"):
        if key in own:
            raise ConfigError(f"{key}={own[key]}: several frames are not calibrated together yet; give one frame")
    for key in ("calibrant", "save"):
        if key not in own:
            raise ConfigError(f"{key}: missing, as in {USAGE}")
    if "detector" in own and "pixel" in own:
        raise ConfigError(f"pixel={own['pixel']}: together with detector={own['detector']}; choose one")
    return own, words


def _task(own: Mapping[str, str], words: Sequence[str]) -> _Task:
    command = parse(words)
    overrides = force_overrides(command.overrides)
    if command.options.multirun or any(word.startswith("hydra.mode=") for word in overrides):
        raise ConfigError(f"calibrate: makes one PONI, so no sweep; say {USAGE}")
    loader = Loader(command.options.config_dir)
    chosen = [] if any(word.startswith("mask=") for word in overrides) else ["mask=none", "++mask.detector=true"]
    values = to_builtin(loader.compose([*chosen, *overrides], command.options.config_name or "config"))
    settings, groups = parse_settings(values)
    if settings.output_dir:
        raise ConfigError(f"output_dir={settings.output_dir}: a PONI has none; say save=geometry.poni")
    pipeline = Pipeline.of(groups, _stages(groups, settings.stages))
    image = _image(pipeline, [*as_list(settings.images), *command.images])
    try:
        shape = frame_shape(image, pipeline.source)
    except FrameError as error:
        raise ConfigError(f"{image.location}: {error}") from error
    start = geometry_file(settings) if settings.poni or settings.geometry.numbers else None
    fix = _fixed(own, start is not None)
    poni = _begin(own, start, settings, shape, image)
    return _Task(settings, pipeline, image, shape, poni, start is not None, _calibrant(own["calibrant"], poni), fix)


def _stages(groups: Mapping[str, Any], order: Sequence[str]) -> list[str]:
    """Return the stages up to the mask; ConfigError where one of them needs the geometry."""
    scale = (groups.get("background") or {}).get("scale")
    if scale == "auto":
        raise ConfigError("background.scale=auto: is fitted along rings, which are not known yet; say a number")
    chosen = list(order[: order.index("mask") + 1]) if "mask" in order else ["mask"]
    mask = groups["mask"]
    if mask.get("alpha") is not None or mask.get("regions"):
        raise ConfigError("mask: automatic masks need the geometry; leave it out, or say mask=none and mask.file=...")
    return chosen


def _image(pipeline: Pipeline, given: Sequence[str]) -> Reference:
    if not given:
        raise ConfigError(f"images: missing; say which frame, as in {USAGE}")
    try:
        images = pipeline.source.merged(references(expand(given)))
    except FrameError as error:
        raise ConfigError(str(error)) from error
    if len(images) != 1:
        more = "one frame is calibrated; give one, or merge them, source.average=N"
        raise ConfigError(f"images: {len(images)} frames; {more}")
    return images[0]


def _fixed(own: Mapping[str, str], started: bool) -> tuple[str, ...]:
    fix, fit = (_names(key, own.get(key, "[]")) for key in ("fix", "fit"))
    if both := set(fix) & set(fit):
        raise ConfigError(f"fit: {', '.join(sorted(both))} is in fix as well; choose one")
    if "rot3" in fit:
        raise ConfigError("fit: rot3 turns about the beam, which no ring shows")
    own_values = [name for name in fix if name not in FIXED]
    if own_values and not started:
        raise ConfigError(f"fix: {', '.join(own_values)} needs a value to keep; say poni=start.poni")
    return tuple(name for name in NAMES if (name in FIXED or name in fix) and name not in fit)


def _names(key: str, text: str) -> list[str]:
    names = [name.strip() for name in text.strip().removeprefix("[").removesuffix("]").split(",") if name.strip()]
    for name in names:
        choice(key, name, NAMES)
    return names


def _begin(
    own: Mapping[str, str], start: Poni | None, settings: Settings, shape: tuple[int, int], image: Reference
) -> Poni:
    """Return the calibration to begin with: detector and wavelength are right, the rest may be anything."""
    if start is None:
        if "detector" not in own and "pixel" not in own:
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
    if "detector" in own:
        from pyFAI.detectors import ALL_DETECTORS

        if own["detector"].lower() not in ALL_DETECTORS:
            raise ConfigError(f"detector={own['detector']}: unknown; {nearest(own['detector'].lower(), ALL_DETECTORS)}")
        values["detector"], config = own["detector"], {}
    if "pixel" in own:
        slow, fast = _pixel(own["pixel"])
        values["detector"], config = "Detector", {"pixel1": slow, "pixel2": fast, "max_shape": list(shape)}
    values["detector_config"] = json.dumps({**config, "orientation": orientation})
    values["poni_version"] = "2.1"
    values["wavelength"] = repr(_wavelength(own, start, image))
    return Poni(settings.poni or "start", _poni_text(values)).checked()


def _pixel(text: str) -> tuple[float, float]:
    try:
        sizes = [float(each) for each in text.strip("[] ").split(",")]
    except ValueError:
        sizes = []
    if len(sizes) != 2 or not all(1e-7 < each < 1e-2 for each in sizes):
        raise ConfigError(f"pixel={text}: two lengths in m expected, as in pixel=[2e-4,2e-4]")
    return sizes[0], sizes[1]


def _wavelength(own: Mapping[str, str], start: Poni | None, image: Reference) -> float:
    if "wavelength" in own:
        try:
            value = float(own["wavelength"])
        except ValueError:
            value = 0.0
        if not SHORTEST <= value <= LONGEST:
            raise ConfigError(f"wavelength={own['wavelength']}: m expected, as in wavelength=1.665e-11")
        return value
    if start is not None and start.wavelength is not None:
        return start.wavelength
    for key in ("wavelength", "incident_wavelength"):
        value = header(image).get(key, 0.0)
        if isinstance(value, (int, float)):
            for unit in (1.0, 1e-10):  # m, or angstrom: the two are far apart
                if SHORTEST <= value * unit <= LONGEST:
                    return float(value * unit)
    raise ConfigError("wavelength: missing, and not in the header of the frame; say it in m, wavelength=1.665e-11")


def _calibrant(name: str, poni: Poni) -> Any:
    from pyFAI.calibrant import ALL_CALIBRANTS, Calibrant

    path = expand_user(name)
    if os.path.isfile(path):
        try:
            made = Calibrant(filename=path)
            spacings = list(made.dspacing)
        except Exception as error:  # pyFAI raises many types for malformed files
            raise ConfigError(f"calibrant={name}: cannot be read ({error}); d-spacings expected, one a line") from error
    elif name in ALL_CALIBRANTS.keys():  # noqa: SIM118 - it is no mapping
        made = ALL_CALIBRANTS(name)
        spacings = list(made.dspacing)
    else:
        known = sorted(ALL_CALIBRANTS.keys())
        raise ConfigError(f"calibrant={name}: neither a file nor known; {nearest(name, known)}")
    if not spacings or not all(np.isfinite(each) and each > 0 for each in spacings):
        raise ConfigError(f"calibrant={name}: holds no d-spacings, in angstrom, one a line")
    made.wavelength = poni.wavelength
    if len(made.get_2th()) < 3:
        raise ConfigError(f"calibrant={name}: fewer than three rings at this wavelength")
    return made


def _calibrate(task: _Task) -> Calibrated:
    frame_from = f"{task.image.location} has"
    begin = Geometry(task.poni, task.shape, frame_from).integrator
    detector = begin.detector
    if abs(detector.pixel1 / detector.pixel2 - 1) > 1e-6:
        sizes = f"{1e6 * detector.pixel1:g} x {1e6 * detector.pixel2:g}"
        raise ConfigError(f"pixels of {sizes} micrometres: only square pixels can be calibrated")
    if not detector.IS_FLAT or detector.CORNERS != 4:
        raise ConfigError(f"detector {detector.name}: only flat detectors with square pixels can be calibrated")
    recipe = Recipe(
        json.dumps(task.pipeline.config), tuple(task.pipeline.stages), task.poni, task.shape, frame_from, None
    )
    frame = prepared(recipe)(task.image)[0]
    bad: NDArray[np.bool_] = frame.masked
    values = dict(task.poni.values)
    config = {**json.loads(values["detector_config"]), "orientation": 3}
    upright = Poni(task.poni.path, _poni_text({**values, "detector_config": json.dumps(config)}))
    start = Geometry(upright, task.shape, frame_from).integrator
    for name, value in _turned({name: getattr(begin, name) for name in NAMES}, detector, task.shape).items():
        setattr(start, name, value)
    with np.errstate(divide="ignore", invalid="ignore"):  # pyFAI guesses a start, which is replaced
        return calibrate(frame.image, bad, start.detector, task.calibrant, start if task.started else None, task.fix)


def _turned(values: Mapping[str, float], detector: Any, shape: tuple[int, int]) -> dict[str, float]:
    return turned(values, int(detector.orientation), shape, (detector.pixel1, detector.pixel2))


def _values(found: Calibrated, task: _Task) -> dict[str, str]:
    """Return the values of the PONI file."""
    detector = Geometry(task.poni, task.shape).integrator.detector
    numbers = _turned(found.values, detector, task.shape)
    numbers["distance"] = numbers.pop("dist")
    return {**task.poni.values, **{key: repr(float(value)) for key, value in numbers.items()}}


def _comments(found: Calibrated, task: _Task, calibrant: str) -> list[str]:
    rms = f"residual {found.refined.rms:.3f} pixels, {len(found.refined.points.points)} control points"
    return [f"xrdpipe calibrate: calibrant {Path(calibrant).name}, frame {task.image.name}", f"{rms}"]


def _poni_text(values: Mapping[str, str], comments: Sequence[str] = ()) -> str:
    order = ("poni_version", "detector", "detector_config", "distance", "poni1", "poni2", "rot1", "rot2", "rot3")
    keys = [*(key for key in order if key in values), *(key for key in ("splinefile", "wavelength") if key in values)]
    lines = [f"{key.capitalize() if key != 'poni_version' else key}: {values[key]}" for key in keys]
    return "".join(f"{line}\n" for line in [*(f"# {each}" for each in comments), *lines])


def _print(found: Calibrated, task: _Task, save: Path) -> None:
    detector = Geometry(task.poni, task.shape).integrator.detector
    values = _turned(found.values, detector, task.shape)
    print_table(
        [
            {
                "parameter": name,
                "value": f"{values[name]:.8g}",
                "sigma": f"{found.errors[name]:.1e}" if name in found.errors else "fixed",
                "unit": UNITS.get(name, "rad"),
            }
            for name in NAMES
        ]
    )
    print_table(
        [
            {
                "ring": str(ring.number),
                "d (angstrom)": f"{ring.d:.4f}",
                "2theta (deg)": f"{np.rad2deg(ring.two_theta):.3f}",
                "points": str(ring.points),
                "rms (px)": f"{ring.rms:.3f}",
            }
            for ring in found.rings
        ]
    )
    for one, other, value in found.correlations(STRONG):
        print(f"{one} and {other} are correlated: {value:+.3f}")
    print(f"residual {found.refined.rms:.3f} pixels; written: {save}; next: xrdpipe poni={save} FRAMES...")


def _check_file(save: Path, task: _Task) -> None:
    """Raise ConfigError where the PONI is there already, is an input, or cannot be written."""
    inputs = [task.image.path, *map(Path, task.pipeline.inputs().values())]
    inputs += [Path(task.settings.poni)] if task.settings.poni else []
    if save.resolve() in {path.resolve() for path in inputs}:
        raise ConfigError(f"save={save}: is an input; choose another name")
    if save.is_dir():
        raise ConfigError(f"save={save}: is a folder")
    if save.exists() and not task.settings.overwrite:
        raise ConfigError(f"save={save}: is already there; say overwrite=true, or choose another name")
    parent = next(path for path in save.absolute().parents if path.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise ConfigError(f"save={save}: {parent} is {'not writable' if parent.is_dir() else 'a file, not a folder'}")
