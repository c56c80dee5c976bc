"""Goniometers of pyFAI: a geometry that depends on the positions of motors, read from JSON without running it."""

from __future__ import annotations

import ast
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..model.errors import ConfigError
from ..numerics.expression import FUNCTIONS, Expression

VERSIONS = ("Goniometer calibration v2", "Goniometer calibration v1.1")  # of pyFAI's ``Goniometer``
DEFAULTS = {"dist": 1.0, "poni1": 0.0, "poni2": 0.0, "rot1": 0.0, "rot2": 0.0, "rot3": 0.0}  # of pyFAI's ``Geometry``
CONSTANTS = {"pi": math.pi}
PHYSICS = {"hc": 12.398419843320026, "q": 1.602176634e-19}  # keV angstrom and C (CODATA 2018), as in pyFAI's ``units``
PLAIN = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.UAdd, ast.Load, ast.BinOp, ast.UnaryOp)


@dataclass(frozen=True)
class Goniometer:
    """A geometry as a function of motor positions, as pyFAI's ``Goniometer`` has it.

    Attributes
    ----------
    motors
        Names of the motors.
    formulas
        Formula of each value of the geometry, name in `Calibration` -> expression; lengths in m, angles in rad.
    constants
        Values of the other names in the formulas.
    poni
        Detector and wavelength, by key of a PONI file.
    """

    motors: tuple[str, ...]
    formulas: Mapping[str, Expression]
    constants: Mapping[str, float]
    poni: Mapping[str, str]

    def at(self, positions: Mapping[str, float]) -> dict[str, float]:
        """Return the geometry at these positions, name in `Calibration` -> value; FrameError if there is none."""
        known = {**self.constants, **positions}
        values = {name: float(formula(lambda key, _: known[key])) for name, formula in self.formulas.items()}
        return {**DEFAULTS, **values}


def is_goniometer(text: str) -> bool:
    """Return whether the text of a calibration is a goniometer; another JSON file of pyFAI has no such function."""
    return text.lstrip().startswith("{") and '"trans_function"' in text


@lru_cache(maxsize=8)
def parse_goniometer(text: str) -> Goniometer:
    """Parse the JSON that pyFAI's ``Goniometer.save`` writes.

    The file may come from a stranger. Its formulas are those of `Expression`, which evaluates no code, and of these
    plain arithmetic alone: numbers, names, ``+ - * / **`` and functions. pyFAI itself gives them to numexpr.

    Raises
    ------
    ValueError
        The text is no such file, or a formula is not plain arithmetic.
    """
    try:
        config = json.loads(text)
    except RecursionError as error:
        raise ValueError("brackets in too many levels") from error
    if not isinstance(config, dict) or config.get("content") not in VERSIONS:
        raise ValueError(f"a goniometer has the content {' or '.join(map(repr, VERSIONS))}")
    function = config.get("trans_function")
    if not isinstance(function, dict):
        raise ValueError("trans_function is no JSON object")
    extended = function.get("content") == "ExtendedTransformation"
    if not extended and function.get("content") not in (None, "GeometryTransformation", "GeometryTranslation"):
        raise ValueError(
            f"trans_function is of the class {_short(function['content'])}; GeometryTransformation or "
            "ExtendedTransformation expected"
        )
    motors = _names(function, "pos_names") or ("pos",)
    constants = _constants(config, function, motors, PHYSICS if extended else {})
    formulas = _formulas(function, [*DEFAULTS, "wavelength"] if extended else list(DEFAULTS), {*motors, *constants})
    missing = [name for name in DEFAULTS if name not in formulas]
    if missing and not extended:
        raise ValueError(f"trans_function has no {missing[0]}_expr")
    return Goniometer(motors, formulas, constants, _detector(config))


def _constants(
    config: Mapping[str, Any], function: Mapping[str, Any], motors: Sequence[str], shipped: Mapping[str, float]
) -> dict[str, float]:
    """Return the values of constants and of refined parameters, by name."""
    given = function.get("constants") or {}
    names, values = _names(function, "param_names"), config.get("param")
    if not isinstance(given, dict):
        raise ValueError("constants is no JSON object")
    if not isinstance(values, list) or len(values) != len(names):
        raise ValueError(f"param: a list of {len(names)} numbers expected, one for each of param_names")
    constants = {**CONSTANTS, **shipped, **{name: _number(f"constants.{name}", each) for name, each in given.items()}}
    for name in (*names, *motors):
        if name in constants or (*names, *motors).count(name) > 1:
            raise ValueError(f"{name} has two meanings in it")
    return constants | {name: _number(f"param {name}", each) for name, each in zip(names, values, strict=True)}


def _formulas(function: Mapping[str, Any], names: Sequence[str], known: set[str]) -> dict[str, Expression]:
    expected = {"content", "param_names", "pos_names", "constants", *(f"{name}_expr" for name in names)}
    if unknown := sorted(set(function) - expected):
        raise ValueError(f"trans_function has an unknown {_short(unknown[0])}")
    texts = {name: function.get(f"{name}_expr") for name in names}
    return {name: _formula(f"{name}_expr", text, known) for name, text in texts.items() if text is not None}


def _formula(key: str, text: Any, known: set[str]) -> Expression:
    """Return the formula of a value; ValueError if it is not plain arithmetic of known names."""
    if not isinstance(text, str):
        raise ValueError(f"{key} is {_short(text)}, a text expected")
    try:
        formula = Expression(key, text)
    except ConfigError as error:
        raise ValueError(str(error)) from error
    calls = set[int]()
    for node in ast.walk(ast.parse(text.strip(), mode="eval").body):  # parents come first
        match node:
            case ast.Call(func=ast.Name(id=name) as function) if name in FUNCTIONS:
                calls.add(id(function))
            case ast.Name(id=name):
                if id(node) not in calls and name not in known:
                    raise ValueError(f"{key}={text}: {name} is neither a parameter nor a motor nor a constant")
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                _number(key, value)
            case _ if not isinstance(node, PLAIN):
                raise ValueError(f"{key}={text}: plain arithmetic expected, numbers, names, + - * / ** and functions")
    return formula


def _detector(config: Mapping[str, Any]) -> dict[str, str]:
    """Return detector and wavelength, by key of a PONI file."""
    name, wavelength = config.get("detector"), config.get("wavelength")
    settings = config.get("detector_config") or {}
    if config["content"] == VERSIONS[1]:
        settings = {
            key: config[key] for key in ("pixel1", "pixel2", "max_shape") if name == "Detector" and key in config
        }
    if not isinstance(name, str) or not isinstance(settings, dict):
        raise ValueError("detector or detector_config cannot be read")
    values = {
        "poni_version": "2.1" if "orientation" in settings else "2",
        "detector": name,
        "detector_config": json.dumps(settings),
    }
    return values if wavelength is None else {**values, "wavelength": repr(_number("wavelength", wavelength))}


def _names(function: Mapping[str, Any], key: str) -> tuple[str, ...]:
    names = function.get(key) or []
    if not isinstance(names, list) or not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise ValueError(f"trans_function.{key}: a list of names expected")
    return tuple(names)


def _short(value: Any) -> str:
    return repr(value)[:60]


def _number(what: str, value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) <= sys.float_info.max:
        raise ValueError(f"{what} is {_short(value)}, a number is expected")
    return float(value)
