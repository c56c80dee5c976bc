"""The verdict of a sweep: which job is best by `sweep.rank`, how clearly, and which setting matters."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from statistics import fmean, median, stdev
from typing import Any

from ..config.rank import Terms
from ..numerics.metrics import METRICS
from ..results.command import Row

SURE = 2.0  # standard errors: jobs whose scores are no further apart cannot be told apart


NEUTRAL = ("mask", "plot", "output", "parallel", "report", "quiet", "cache", "overwrite", "resume", "hydra")  # groups


NEUTRAL_KEYS = ("correction.saturation", "integ.error_model")


INCOMPARABLE = "pattern_error compares masks, and this is no mask; name another metric with sweep.rank=..."


def median_metrics(images: Sequence[Row]) -> dict[str, float]:
    """The metrics of a job: of each the median over the frames (as `folder.Record` has them) that are done."""
    done = [each for each in images if each["status"] == "done"]
    values = [
        {**each.get("metrics", {}), **{key: each[key] for key in ("masked_fraction", "seconds")}} for each in done
    ]
    found = {name: [each[name] for each in values if each.get(name) is not None] for name in METRICS}
    return {name: median(numbers) for name, numbers in found.items() if numbers}


def score(metrics: Mapping[str, float], rank: Terms) -> float:
    """The sum of weight times metric; NaN where the job lacks one of them."""
    return math.fsum(weight * metrics.get(metric, math.nan) for weight, metric in rank)


def rank_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a sweep, best first, each with its ``rank`` (from 1; "" without a score).

    A job that lost frames comes after those that lost fewer, whatever its score: the rest may be the easy ones. One
    that was stopped comes last.
    """
    judged = sorted((row for row in rows if row["score"] != ""), key=lambda row: (*_lost(row), row["score"]))
    places = {row["job"]: place for place, row in enumerate(judged, 1)}
    order = sorted(rows, key=lambda row: (places.get(row["job"], math.inf), row["job"]))
    return [{**row, "rank": places.get(row["job"], "")} for row in order]


def _lost(row: Mapping[str, Any]) -> tuple[bool, int]:
    return row.get("status") == "stopped", row["failed"]


def beyond_masks(varied: Sequence[str]) -> list[str]:
    """Return the keys that change numbers by something else than the mask: `pattern_error` cannot judge these."""
    return [key for key in varied if re.split(r"[./]", key)[0] not in NEUTRAL and key not in NEUTRAL_KEYS]


def ties(rows: Sequence[Row], images: Mapping[Any, Sequence[Row]], rank: Terms) -> list[int]:
    """Return the jobs that cannot be told apart from the best one (rows come best first).

    Their score is no further from the best one than `SURE` standard errors of the difference. ``images`` are the
    records of the frames of each job.
    """
    judged = [row for row in rows if row["rank"] != ""]
    return [
        row["job"]
        for row in judged[1:]
        if _lost(row) == _lost(judged[0])
        and row["score"] - judged[0]["score"]
        <= SURE * standard_error(images.get(judged[0]["job"], ()), images.get(row["job"], ()), rank)
    ]


def standard_error(first: Sequence[Row], second: Sequence[Row], rank: Terms) -> float:
    """Return the standard error of the difference of the scores of two jobs over the same frames.

    The differences are taken frame by frame and, for `pattern_error`, part by part of the frames; the larger of the
    two standard errors counts. 0 where there is one frame and no parts.
    """
    done = [{each["name"]: each for each in job if each["status"] == "done"} for job in (first, second)]
    names = [name for name in done[0] if name in done[1]]
    pairs = [(done[0][name], done[1][name]) for name in names]
    frames = [score(_numbers(b), rank) - score(_numbers(a), rank) for a, b in pairs]
    weight = math.fsum(weight for weight, metric in rank if metric == "pattern_error")
    both = [(a["error_parts"], b["error_parts"]) for a, b in pairs if a.get("error_parts") and b.get("error_parts")]
    parts = [weight * fmean(b[part] - a[part] for a, b in both) for part in range(len(both[0][0]))] if both else []
    found = [stdev(values) / math.sqrt(len(values)) for values in (frames, parts) if len(values) > 1]
    return max((each for each in found if math.isfinite(each)), default=0.0)


def _numbers(image: Row) -> dict[str, float]:
    return {**image.get("metrics", {}), **{key: image.get(key, math.nan) for key in ("masked_fraction", "seconds")}}


def setting_effects(rows: Sequence[Row], varied: Sequence[str]) -> list[dict[str, Any]]:
    """Which setting matters: for each key the mean score at each of its values, and how far these means are apart.

    ``spread`` is the distance of the highest mean from the lowest, ``share`` the same over that of all scores. Where a
    key of several has nearly as many values as there are jobs (a search between limits), its lower and upper half are
    compared. The key that matters most comes first.
    """
    judged = [row for row in rows if row["score"] != ""]
    if len(judged) < 2:
        return []
    whole = max(row["score"] for row in judged) - min(row["score"] for row in judged)
    found = []
    for key in varied:
        groups: dict[str, list[float]] = {}
        values = [row[key] for row in judged]
        cut = _halves(values) if len(varied) > 1 and len(set(values)) > len(judged) / 2 else None
        for row in judged:
            name = row[key] if cut is None else f"{'<' if float(row[key]) < cut else '>='} {cut:.4g}"
            groups.setdefault(str(name), []).append(row["score"])
        averages = {name: fmean(scores) for name, scores in groups.items()}
        spread = max(averages.values()) - min(averages.values())
        found.append({"key": key, "spread": spread, "share": spread / whole if whole else 0.0, "means": averages})
    return sorted(found, key=lambda each: -each["spread"])


def _halves(values: Sequence[Any]) -> float | None:
    try:
        return median(float(value) for value in values)
    except ValueError:  # not numbers
        return None
