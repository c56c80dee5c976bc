"""Judge a sweep: the best job by `sweep.rank`, the jobs close to it, and the effect of each setting."""

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


NEUTRAL_KEYS = ("output_dir", "correction.saturation", "integ.error_model")


INCOMPARABLE = "pattern_error compares masks, and this is no mask; name another metric with sweep.rank=..."


def median_metrics(images: Sequence[Row]) -> dict[str, float]:
    """Return the median of each metric over the frames of a job that are done.

    Parameters
    ----------
    images
        Records of the frames.
    """
    done = [each for each in images if each["status"] == "done"]
    values = [
        {**each.get("metrics", {}), **{key: each[key] for key in ("masked_fraction", "seconds")}} for each in done
    ]
    known = {name: [each[name] for each in values if each.get(name) is not None] for name in METRICS}
    return {name: median(numbers) for name, numbers in known.items() if numbers}


def score(metrics: Mapping[str, float], rank: Terms) -> float:
    """Return the sum of weight times metric; NaN if the job lacks one of the metrics."""
    return math.fsum(weight * metrics.get(metric, math.nan) for weight, metric in rank)


def rank_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a sweep, best first, each with its ``rank``: 1 and up, or "" without a score.

    A job comes after those that lost fewer frames, whatever its score, because the frames it did may be the easy
    ones. A stopped job comes last.

    Parameters
    ----------
    rows
        Rows with ``job``, ``score``, ``status`` and ``failed``.
    """
    ranked = sorted((row for row in rows if row["score"] != ""), key=lambda row: (*_lost(row), row["score"]))
    places = {row["job"]: place for place, row in enumerate(ranked, 1)}
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
    """Return the effect of each setting on the score, the largest first.

    If one of several keys has more values than half the number of jobs, as in a search between limits, the lower and
    the upper half of its values are compared.

    Parameters
    ----------
    rows
        Rows of the sweep.
    varied
        Keys that vary.

    Returns
    -------
    list of dict
        ``key``; ``means``: mean score for each value; ``spread``: highest minus lowest mean; ``share``: the spread
        over that of all scores.
    """
    ranked = [row for row in rows if row["score"] != ""]
    if len(ranked) < 2:
        return []
    whole = max(row["score"] for row in ranked) - min(row["score"] for row in ranked)
    effects = []
    for key in varied:
        groups: dict[str, list[float]] = {}
        values = [row[key] for row in ranked]
        cut = _halves(values) if len(varied) > 1 and len(set(values)) > len(ranked) / 2 else None
        for row in ranked:
            name = row[key] if cut is None else f"{'<' if float(row[key]) < cut else '>='} {cut:.4g}"
            groups.setdefault(str(name), []).append(row["score"])
        averages = {name: fmean(scores) for name, scores in groups.items()}
        spread = max(averages.values()) - min(averages.values())
        effects.append({"key": key, "spread": spread, "share": spread / whole if whole else 0.0, "means": averages})
    return sorted(effects, key=lambda each: -each["spread"])


def _halves(values: Sequence[Any]) -> float | None:
    try:
        return median(float(value) for value in values)
    except ValueError:  # not numbers
        return None
