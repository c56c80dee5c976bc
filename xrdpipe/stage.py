"""What every room of the pipeline has in common, and how one is built from its configuration."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints, overload

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .collect import Collector, Series
    from .folder import Record
    from .frame import Frame, Image
    from .geometry import Geometry, Poni

Step = Callable[["Frame"], "Frame"]  # in quotes: importing Frame imports numpy, which --help does not need


class ConfigError(ValueError):
    """Something the user asked for cannot be; the message says what, where, and what would be right."""


def poisson(counts: Image) -> Image:
    """The variance of counts: themselves, at least 1."""
    return counts.clip(1)


def _header(path: str) -> Mapping[str, Any]:
    from .header import of_file

    return of_file(path)


@dataclass(frozen=True)
class Setup:
    """What a stage may need of the run when it prepares.

    ``read`` gives a file's image as float32 in the orientation of the frames; ``to_raw`` turns an array back into the
    orientation of the files. ``folder`` is None where nothing is to be written. ``variance`` says whether a stage
    wants the frame's variance. ``provenance`` is what every result says about its making: name -> JSON value.
    ``columns`` are the names of what the source reads of every header. ``images`` gives all frames of a file, as
    ``read`` the only one; ``noise`` the variance of raw counts, float32; ``header`` the header of a file, as a frame
    has it.
    """

    geometry: Geometry
    read: Callable[[str], Image]
    to_raw: Callable[[NDArray[Any]], NDArray[Any]]
    folder: Path | None = None
    variance: bool = False
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    columns: Sequence[str] = ()
    images: Callable[[str], Iterable[Image]] | None = None
    noise: Callable[[Image], Image] = poisson
    header: Callable[[str], Mapping[str, Any]] = _header


@dataclass(frozen=True)
class Stage:
    """A room of the pipeline. Its fields are its configuration and its schema; `prepare` does once what can be done
    once and returns what runs for every frame."""

    def prepare(self, setup: Setup) -> Callable[..., Frame]:
        """Return the step that takes a frame and returns the next one; raise ConfigError for what cannot be."""
        raise NotImplementedError

    def check(self, poni: Poni) -> None:
        """Raise ConfigError for what cannot be, before any frame is read."""

    def check_columns(self, columns: tuple[str, ...]) -> None:
        """Raise ConfigError for what cannot be with patterns of these columns; called where they are known."""

    def inputs(self) -> dict[str, str]:
        """Files this stage reads besides the frames: what it is called -> path."""
        return {}

    def outputs(self, name: str) -> list[str]:
        """Files this stage writes for the frame ``name``, relative to the run's folder."""
        return []

    def finish(self, folder: Path, records: Sequence[Record]) -> list[str]:
        """Called once when a run ends, also a stopped one, with the records of all frames that its folder holds.

        Returns what the user should know.
        """
        return []

    def finishes(self) -> list[str]:
        """Files that `finish` writes, relative to the run's folder."""
        return []

    def collect(self, series: Series) -> Collector | None:
        """What makes something of all frames of a run together; None where each frame is for itself."""
        return None

    @property
    def pattern_columns(self) -> tuple[str, ...]:
        """Of the patterns that this stage makes: unit of the axis, intensity[, sigma]; () where it makes none."""
        return ()

    @property
    def extras(self) -> dict[str, list[str]]:
        """What it adds to a frame besides image, mask and pattern: "sectors" or "cake" -> the suffixes of its files."""
        return {}

    def extra_outputs(self, name: str, extras: Mapping[str, list[str]]) -> list[str]:
        """Files this stage writes for the frame ``name`` where the stages of its pipeline make ``extras``."""
        return []

    @property
    def wants_variance(self) -> bool:
        """Whether the frame's variance must travel with it."""
        return False


def nearest(name: str, allowed: Any) -> str:
    """Say what would be right instead of ``name``: the nearest allowed name, and all where they are few."""
    names = [str(item) for item in allowed]
    close = get_close_matches(name, names, n=1)
    told = [f"did you mean {close[0]!r}?"] if close else []
    return " ".join([*told, f"allowed: {', '.join(names)}"] if not close or len(names) <= 8 else told)


def choice(key: str, value: Any, allowed: Any) -> None:
    """Raise ConfigError unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        raise ConfigError(f"{key}={value}: unknown; {nearest(str(value), allowed)}")


def require(condition: bool, key: str, value: Any, expected: str) -> None:
    """Raise ConfigError, naming key and value, unless ``condition`` holds."""
    if not condition:
        raise ConfigError(f"{key}={value}: {expected}")


T = TypeVar("T")
Kind = TypeVar("Kind", bound=Stage)


def validated(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build the dataclass ``cls`` from plain ``values``, the class being the schema.

    ``where`` is the configuration group (or "" for the top level) and prefixes every key in a ConfigError: unknown
    keys come with the nearest valid one, wrong types with the one expected.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    prefix = f"{where}." if where else ""
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise ConfigError(
                f"{prefix}{key}: no such key; {nearest(f'{prefix}{key}', [prefix + each for each in fields])}"
            )
    checked = OmegaConf.structured(cls)
    hints = get_type_hints(cls)
    taken = {}  # as it is: OmegaConf would look for ${...} in it
    for key, value in values.items():
        if hints[key] is Any or (isinstance(value, str) and hints[key] in (str, str | None)):
            taken[key] = value
            continue
        expected = str(fields[key].type).replace(" | None", " or null")
        try:
            checked = OmegaConf.merge(checked, {key: value})
            OmegaConf.to_container(checked, resolve=True)
        except OmegaConfBaseException as error:
            raise ConfigError(f"{prefix}{key}={value}: {expected} expected") from error
        if value == "???":  # which OmegaConf takes for nothing said
            raise ConfigError(f"{prefix}{key}={value}: {expected} expected")
    missing = sorted(OmegaConf.missing_keys(checked) - set(taken))
    if missing:
        raise ConfigError(f"{prefix}{missing[0]}: missing; it has no default")
    plain = OmegaConf.to_container(checked)
    assert isinstance(plain, dict)
    try:
        return cls(**{str(key): value for key, value in plain.items()} | taken)
    except ConfigError as error:
        raise ConfigError(f"{prefix}{error}") from error


@overload
def build(values: Mapping[str, Any], where: str) -> Stage: ...
@overload
def build(values: Mapping[str, Any], where: str, base: type[Kind]) -> Kind: ...
def build(values: Mapping[str, Any], where: str, base: type[Stage] = Stage) -> Stage:
    """Build the stage that ``values['_target_']`` names; see `validated` for what is refused and how."""
    try:
        text = json.dumps(values)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}; numbers, text, true, false, null, lists and mappings expected") from error
    plugins = _plugins(tuple(sys.path))
    return _build(text, where, base, plugins)  # type: ignore[arg-type] # mypy: a class has a hash


@lru_cache(maxsize=64)  # the jobs of a sweep ask for the same stages again and again
def _build(text: str, where: str, base: type[Stage], plugins: frozenset[str]) -> Stage:
    values = json.loads(text)
    target = values.get("_target_")
    if not isinstance(target, str):
        raise ConfigError(f"{where}: no _target_, so no stage; choose an option of the group with {where}=...")
    cls = _resolve(target, where, plugins)
    if not issubclass(cls, base):
        raise ConfigError(f"{where}._target_={target}: {cls.__name__} is no {base.__name__.lower()}")
    return validated(cls, {key: value for key, value in values.items() if key != "_target_"}, where)


def _resolve(target: str, where: str, plugins: frozenset[str]) -> type[Stage]:
    # Importing is running code: the package is checked before anything of it is imported.
    module, _, name = target.rpartition(".")
    refused = ConfigError(f"{where}._target_={target}: not a stage of xrdpipe or of an installed plug-in")
    if module.partition(".")[0] not in ("xrdpipe", *plugins):
        raise refused
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise refused from error
    if not (isinstance(cls, type) and issubclass(cls, Stage) and dataclasses.is_dataclass(cls)):
        raise refused
    return cls


@cache
def _plugins(path: tuple[str, ...]) -> frozenset[str]:
    """The packages of the plug-ins that are installed in ``path``, which is `sys.path`."""
    return frozenset(point.module.partition(".")[0] for point in entry_points(group="xrdpipe.stages"))
