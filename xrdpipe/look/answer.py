"""What the page is told of a view: numbers, mask by reasons, metrics, verdict, and the text that repeats it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config.arguments import UsageError
from ..config.experiment import experiment_yaml
from ..config.settings import as_list
from ..model.cake import Cake
from ..model.errors import ConfigError
from ..model.pattern import Pattern
from ..numerics.metrics import MEANINGS, REASONS, masked_by
from ..results.command import repeat_command
from ..results.judgement import judgement
from ..stages.plot.series import AXES
from ..sweeps.verdict import INCOMPARABLE, SURE, beyond_masks, score, standard_error
from .result import Result
from .session import Session
from .view import View, parse_view
from .words import GROUPS, Start

GOOD = "nothing speaks against these numbers"
UNJUDGED = "not judged without sigma (integ.error_model=poisson)"
PREVIEW = "a preview: every pixel whole in one bin; the exact pattern follows"
MAXIMUM = "a run makes no maximum of a series: the text reduces every frame alone"


def describe(result: Result, session: Session) -> dict[str, Any]:
    """Return the answer to a view, as JSON values."""
    view, frame, record = result.view, result.frame, result.record
    size = frame.image.size
    shares = masked_by(frame.mask) if frame.mask is not None else {}
    return {
        "id": view.id,
        "seconds": round(result.seconds, 4),
        "exact": result.exact,
        "error": None,
        "frame": record.name,
        "pattern": None if frame.pattern is None else _pattern(frame.pattern),
        "sectors": {  # on the axis of the pattern, so not those in further units
            name: _pattern(each)
            for name, each in frame.results.sectors.items()
            if frame.pattern is not None and each.unit == frame.pattern.unit
        },
        "cake": None if frame.results.cake is None else describe_cake(frame.results.cake),
        "masked": {name: round(shares[f"masked_{name}"] * size) for name in REASONS if shares.get(f"masked_{name}")},
        "total": size,
        "metrics": [
            {"name": name, "value": value, "meaning": MEANINGS.get(name, "")}
            for name, value in {"masked_fraction": record.masked_fraction, **record.metrics}.items()
            if not name.startswith("masked_") or name == "masked_fraction"
        ],
        "verdict": _verdict(result),
        "values": _group_values(result, session),
        "notes": [*record.notes, *_notes(session, result)],
        **texts(session, view, result.start),
    }


def _verdict(result: Result) -> dict[str, str]:
    """Return what a run says of its numbers."""
    if not result.exact:
        return {"name": "none", "text": PREVIEW}
    if result.frame.pattern is None or result.frame.pattern.sigma is None:
        return {"name": "none", "text": UNJUDGED}
    found = judgement([result.record], result.configured.pipeline.source.gain)
    return {"name": "check" if found else "good", "text": found or GOOD}


def texts(session: Session, view: View, start: Start, form: str = "npy") -> dict[str, str]:
    """Return the command line and the experiment of a view, whose drawn mask is saved in this format."""
    comment = f"Made by xrdpipe look: experiment={view.name}, with --config-dir"
    if view.shapes:
        own = _own_masks(session, start)
        comment += f"\n{view.name}.{form} has the drawn mask{f', and the masks {own}' if own else ''}"
        start = session.with_mask(start, f"{session.save}/{view.name}.{form}")
    values, choices = session.composed(start)
    command = repeat_command({"command": [*start.options, *start.words]})
    return {"command": command, "yaml": experiment_yaml(values, choices, comment)}


def last_commands(session: Session, views: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the command lines of views that differ from that of the session, without drawn masks."""
    found = []
    for content in views:
        try:
            start = session.start_of(parse_view(content))
        except (ConfigError, UsageError):  # of a key that was wrong when the page was closed
            continue
        if start != session.start:
            found.append(repeat_command({"command": [*start.options, *start.words]}))
    return list(dict.fromkeys(found))


def _own_masks(session: Session, start: Start) -> str:
    """Return the masks that a command line names."""
    return ", ".join(map(str, as_list(session.composed(start)[0].get("mask", {}).get("file"))))


def describe_error(error: Exception) -> dict[str, Any]:
    """Return the answer to a view that cannot be shown: the message of the program, and the key that it names."""
    text = str(error)
    match = re.match(rf"(shapes|(?:{'|'.join(GROUPS)})\.\w+)\b", text)
    nothing = dict.fromkeys(("id", "exact", "seconds", "pattern", "cake", "masked", "total", "metrics", "verdict"))
    return {**nothing, "error": {"message": text, "key": match[1] if match else None}}


def describe_cake(cake: Cake) -> dict[str, Any]:
    """Return the axes of a cake: first and last edge of each."""
    shape = cake.intensity.shape
    axes = {"x": (cake.radial, shape[1]), "azimuth": (cake.azimuthal, shape[0])}
    edges = {}
    for name, (centres, count) in axes.items():
        half = (centres[-1] - centres[0]) / max(count - 1, 1) / 2
        edges[name] = [float(centres[0] - half), float(centres[-1] + half)]
    return {**edges, "unit": cake.unit, "label": AXES.get(cake.unit, cake.label), "shape": list(shape)}


def compare(session: Session, before: Result, after: Result) -> dict[str, Any]:
    """Return the difference of two views, on the grid of the second, and which of them is better."""
    one, other = before.frame.pattern, after.frame.pattern
    answer: dict[str, Any] = {"before": before.view.id, "after": after.view.id, "error": None}
    answer |= {"x": None, "difference": None, "sigma": None, "verdict": _better(session, before, after)}
    if one is None or other is None:
        return {**answer, "error": "no pattern, because there is no integ among the stages"}
    exact, intensity = before.exact and after.exact, one.intensity
    if not exact and one.unit == other.unit and one.radial.size == other.radial.size:
        intensity = np.interp(other.radial, one.radial, intensity)  # the bins of a preview are half a pixel off
    elif one.unit != other.unit or not np.array_equal(one.radial, other.radial):
        return {**answer, "error": "the patterns are on different grids (integ.unit, npt, radial_range)"}
    return {
        **answer,
        "x": _numbers(other.radial),
        "difference": _numbers(other.intensity - intensity),
        "sigma": None if other.sigma is None else _numbers(other.sigma),
    }


def _better(session: Session, before: Result, after: Result) -> dict[str, str] | None:
    """Say which of two views of one frame is better, by what ranks the jobs of a sweep."""
    if not (before.exact and after.exact):
        return {"name": "none", "text": PREVIEW}
    rank = session.plan.settings.sweep.terms
    here, there = (each.view for each in (before, after))
    if (here.frame, here.combine) != (there.frame, there.combine):
        return None
    one, other = dict((*here.choices, *here.values)), dict((*there.choices, *there.values))
    varied = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    if beyond_masks(varied) and any(metric == "pattern_error" for _, metric in rank):
        return {"name": "none", "text": INCOMPARABLE}
    rows = [vars(each.record) for each in (before, after)]
    scores = [score({**row["metrics"], "masked_fraction": row["masked_fraction"]}, rank) for row in rows]
    if not all(map(math.isfinite, scores)):
        return {"name": "none", "text": f"{' + '.join(metric for _, metric in rank)} is not known of both"}
    name = " + ".join(metric for _, metric in rank)
    unsure = SURE * standard_error(rows[:1], [{**rows[1], "name": rows[0]["name"]}], rank)
    figures = f"{name} {scores[0]:.4g} before, {scores[1]:.4g} after"
    if abs(scores[1] - scores[0]) <= unsure:
        return {"name": "same", "text": f"{figures}: these cannot be told apart"}
    best = "after" if scores[1] < scores[0] else "before"
    return {"name": best, "text": f"{figures}: {best} is better"}


def _group_values(result: Result, session: Session) -> dict[str, Any]:
    """Return the values of all keys of the page, after options and changes."""
    values = result.configured.values
    return {
        f"{group}.{key}": value for group in session.groups for key, value in values[group].items() if key != "_target_"
    }


def _notes(session: Session, result: Result) -> list[str]:
    view, own = result.view, _own_masks(session, result.start)
    notes = [MAXIMUM] if view.combine == "maximum" else []
    if view.shapes:
        also = f"; it contains those of mask.file ({own})" if own else ""
        notes.append(f"The drawn mask has to be saved before the text runs: {view.name}.npy{also}")
    return notes


def _pattern(pattern: Pattern) -> dict[str, Any]:
    return {
        "unit": pattern.unit,
        "label": AXES.get(pattern.unit, pattern.label),
        "x": _numbers(pattern.radial),
        "y": _numbers(pattern.intensity),
        "sigma": None if pattern.sigma is None else _numbers(pattern.sigma),
    }


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    """Return numbers for JSON, which knows neither NaN nor infinity."""
    return [value if math.isfinite(value) else None for value in values.tolist()]
