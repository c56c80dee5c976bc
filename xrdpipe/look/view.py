"""What the page asks for: a frame, changed settings and drawn shapes, checked before anything is done with them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..model.errors import ConfigError, choice, require
from ..model.identity import content_hash

COMBINE = ("frame", "sum", "mean", "maximum")
KINDS = ("polygon", "rectangle", "circle", "ring", "brush", "threshold")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MOST_SHAPES = 1000
MOST_POINTS = 100_000  # of all shapes together
FARTHEST = 1e6  # pixels
MOST_VALUES = 200
LONGEST = 10_000  # characters of a value


@dataclass(frozen=True)
class Shape:
    """A drawn shape, in pixels of the frame after ``source.transform``; pixel i covers [i, i + 1).

    Attributes
    ----------
    kind
        One of `KINDS`.
    points
        Pairs (slow, fast).
    radius
        Of a circle or a brush, pixels.
    low, high
        Counts; a threshold takes pixels below ``low`` and above ``high``.
    unmask
        Take pixels out of what the shapes before drew.
    """

    kind: str
    points: tuple[tuple[float, float], ...]
    radius: float = 0.0
    low: float | None = None
    high: float | None = None
    unmask: bool = False


@dataclass(frozen=True)
class View:
    """One state of the page.

    Attributes
    ----------
    frame
        Number of the frame in the list of the session.
    combine
        One of `COMBINE`: the frame alone, or the series that it belongs to.
    choices
        Configuration group -> option, where it differs from the command line.
    values
        Key -> value, where it differs from the command line.
    shapes
        The drawn mask.
    name
        Name under which the drawn mask is saved.
    """

    frame: int = 0
    combine: str = "frame"
    choices: tuple[tuple[str, str], ...] = ()
    values: tuple[tuple[str, str], ...] = ()  # JSON
    shapes: tuple[Shape, ...] = ()
    name: str = "drawn"

    @cached_property
    def id(self) -> str:
        """Hash of all that determines what is shown."""
        return content_hash(repr(self).encode()).partition(":")[2]


def parse_view(content: Any) -> View:
    """Return the view that a page describes; ConfigError if it is none."""
    require(isinstance(content, Mapping), "view", type(content).__name__, "an object expected")
    unknown = content.keys() - {"frame", "combine", "choices", "values", "shapes", "name"}
    require(not unknown, "view", ", ".join(sorted(unknown)), "no such part")
    frame, combine, name = content.get("frame", 0), content.get("combine", "frame"), content.get("name", "drawn")
    require(type(frame) is int and frame >= 0, "frame", frame, "a number >= 0 expected")
    choice("combine", combine, COMBINE)
    choices, values = content.get("choices", {}), content.get("values", {})
    for what, pairs in (("choices", choices), ("values", values)):
        good = isinstance(pairs, Mapping) and len(pairs) <= MOST_VALUES
        require(good, what, type(pairs).__name__, f"an object of at most {MOST_VALUES} keys expected")
    for group, option in choices.items():
        require(
            bool(isinstance(option, str) and re.fullmatch(r"\w{1,64}", option)),
            str(group)[:64],
            str(option)[:64],
            "the name of an option expected",
        )
    texts = tuple((key, json.dumps(value)) for key, value in values.items())
    for key, text in texts:
        require(len(text) <= LONGEST, key[:64], f"{text[:20]}...", f"at most {LONGEST} characters expected")
    shapes = content.get("shapes", [])
    require(isinstance(shapes, list) and len(shapes) <= MOST_SHAPES, "shapes", "", f"at most {MOST_SHAPES} expected")
    drawn = tuple(map(_shape, shapes))
    total = sum(len(shape.points) for shape in drawn)
    require(total <= MOST_POINTS, "shapes", f"{total} points", f"at most {MOST_POINTS} expected")
    return View(frame, combine, tuple(choices.items()), texts, drawn, checked_name(name))


def checked_name(name: Any) -> str:
    """Return a name that can be saved under: no folder, no hidden file; ConfigError for any other."""
    good = isinstance(name, str) and NAME.fullmatch(name)
    require(bool(good), "name", str(name)[:80], "1 to 64 letters, digits, '.', '_', '-' expected, no folder")
    return str(name)


def _shape(content: Any) -> Shape:
    require(isinstance(content, Mapping), "shapes", type(content).__name__, "an object expected")
    kind, points, unmask = content.get("kind"), content.get("points", []), content.get("unmask", False)
    choice("shapes.kind", kind, KINDS)
    require(isinstance(unmask, bool), "shapes.unmask", unmask, "true or false expected")
    good = isinstance(points, list) and all(isinstance(each, list) and len(each) == 2 for each in points)
    require(good, "shapes.points", kind, "pairs [slow, fast] expected")
    pairs = tuple((_number("points", slow), _number("points", fast)) for slow, fast in points)
    least = {"polygon": 3, "rectangle": 2, "circle": 1, "ring": 2, "brush": 1, "threshold": 0}[kind]
    most = {"rectangle": 2, "circle": 1, "ring": 2}.get(kind, MOST_POINTS)
    good = least <= len(pairs) <= most and not (kind == "threshold" and 0 < len(pairs) < 3)
    require(good, "shapes.points", f"{len(pairs)} points", f"not a {kind}")
    radius = _number("radius", content.get("radius", 0.0))
    require(radius > 0 or kind not in ("circle", "brush"), "shapes.radius", radius, "pixels > 0 expected")
    low, high = (None if content.get(key) is None else _number(key, content[key], math.inf) for key in ("low", "high"))
    if kind == "threshold":
        require(low is not None or high is not None, "shapes.low", None, "low or high expected")
    return Shape(kind, pairs, radius, low, high, unmask)


def _number(key: str, value: Any, largest: float = FARTHEST) -> float:
    good = type(value) in (int, float) and math.isfinite(value) and abs(value) <= largest
    if not good:
        raise ConfigError(f"shapes.{key}={str(value)[:40]}: a number expected")
    return float(value)
