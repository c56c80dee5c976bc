"""Dataclasses as schemas: build stages and settings from plain values."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar, get_args, get_type_hints, overload

from ..model.errors import ConfigError, nearest
from ..model.plugins import plugin_packages
from ..stages.stage import Stage
from .targets import current_target

TYPES = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "list[float]": "a list of numbers",
    "list[str]": "a list of names",
    "dict[str, Any]": "keys with values",
}
T = TypeVar("T")
Kind = TypeVar("Kind", bound=Stage)


def validated(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build a dataclass from plain values; its fields are the schema.

    Parameters
    ----------
    cls
        The dataclass.
    values
        Field -> value.
    where
        Configuration group, which prefixes every key in error messages; empty for the top level.

    Raises
    ------
    ConfigError
        If a key is unknown, with the nearest one, or if a value has the wrong type.
    """
    from omegaconf import OmegaConf

    prefix = f"{where}." if where else ""
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    _refuse_unknown(values, fields, prefix)
    hints = get_type_hints(cls)
    merged, unmerged = {}, {}  # in the latter, OmegaConf would interpolate ${...}
    for key, value in values.items():
        if hints[key] is Any or (isinstance(value, str) and hints[key] in (str, str | None)):
            unmerged[key] = value
            continue
        if (nested := _dataclass_in(hints[key])) is not None and isinstance(value, Mapping):
            unmerged[key] = validated(nested, {k: v for k, v in value.items() if v is not None}, f"{prefix}{key}")
            continue
        merged[key] = value
    checked = _merged(cls, merged, prefix)
    missing = sorted(OmegaConf.missing_keys(checked) - set(unmerged))
    if missing:
        raise ConfigError(f"{prefix}{missing[0]}: missing; it has no default")
    plain = OmegaConf.to_container(checked)
    assert isinstance(plain, dict)
    try:
        return cls(**{str(key): value for key, value in plain.items()} | unmerged)
    except ConfigError as error:
        raise ConfigError(f"{prefix}{error}") from error


def _merged(cls: type[Any], values: Mapping[str, Any], prefix: str) -> Any:
    """Return the OmegaConf schema of a dataclass with values; raise ConfigError if one has the wrong type."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:  # all at once, which is quick; one after another if one of them is wrong
        checked = OmegaConf.merge(OmegaConf.structured(cls), values)
        OmegaConf.to_container(checked, resolve=True)
        right = True
    except OmegaConfBaseException:
        checked, right = OmegaConf.structured(cls), False
    for key, value in values.items():
        expected = _in_words(str(cls.__dataclass_fields__[key].type))
        try:
            if not right:
                checked = OmegaConf.merge(checked, {key: value})
                OmegaConf.to_container(checked, resolve=True)
        except OmegaConfBaseException as error:
            raise ConfigError(f"{prefix}{key}={value}: {expected} expected") from error
        if value == "???":  # OmegaConf takes it for a missing value
            raise ConfigError(f"{prefix}{key}={value}: {expected} expected")
    return checked


def _in_words(annotation: str) -> str:
    """Return the type of a field as a user says it: ``float | None`` is "a number or null"."""
    name = annotation.removesuffix(" | None")
    return f"{TYPES.get(name, name)}{' or null' if name != annotation else ''}"


def _refuse_unknown(values: Mapping[str, Any], fields: Mapping[str, Any], prefix: str) -> None:
    for key in values:
        if key not in fields:
            known = [f"{prefix}{field}" for field in fields]
            raise ConfigError(f"{prefix}{key}: no such key; {nearest(f'{prefix}{key}', known)}")


def _dataclass_in(hint: Any) -> type[Any] | None:
    """Return the dataclass that a type hint is, or may be (``Image | None``)."""
    return next((each for each in (hint, *get_args(hint)) if dataclasses.is_dataclass(each)), None)  # type: ignore[return-value]


@overload
def build(values: Mapping[str, Any], where: str) -> Stage: ...


@overload
def build(values: Mapping[str, Any], where: str, base: type[Kind]) -> Kind: ...


def build(values: Mapping[str, Any], where: str, base: type[Stage] = Stage) -> Stage:
    """Build the stage that ``values['_target_']`` names.

    Parameters
    ----------
    values
        Configuration of the stage.
    where
        Configuration group, for error messages.
    base
        Class that the stage must inherit from.

    Raises
    ------
    ConfigError
        If the class is not allowed, or the values are invalid; see `validated`.
    """
    try:
        text = json.dumps(values)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}; numbers, text, true, false, null, lists and mappings expected") from error
    plugins = plugin_packages()
    return _build(text, where, base, plugins)  # type: ignore[arg-type] # mypy: a class has a hash


@lru_cache(maxsize=64)  # the jobs of a sweep build the same stages again and again
def _build(text: str, where: str, base: type[Stage], plugins: frozenset[str]) -> Stage:
    values = json.loads(text)
    target = values.get("_target_")
    if not isinstance(target, str):
        raise ConfigError(f"{where}: no _target_, so no stage; choose an option of the group with {where}=...")
    cls = _resolve(current_target(target), where, plugins)
    if not issubclass(cls, base):
        raise ConfigError(f"{where}._target_={target}: {cls.__name__} is no {base.__name__.lower()}")
    return validated(cls, {key: value for key, value in values.items() if key != "_target_"}, where)


def _resolve(target: str, where: str, plugins: frozenset[str]) -> type[Stage]:
    # An import runs code, so the package is checked first.
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
