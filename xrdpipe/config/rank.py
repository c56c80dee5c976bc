"""`sweep.rank`: metrics that decide which job of a sweep is best."""

from __future__ import annotations

import math
import re
from typing import Any

from ..model.errors import ConfigError, nearest
from ..numerics.metrics import METRICS

DEFAULT = "pattern_error"  # where the user names no rank: it compares masks, and nothing else


Terms = tuple[tuple[float, str], ...]  # weight, metric
TERM = re.compile(r"\s*(?:(?P<sign>-)|(?P<weight>[-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*\*)?\s*(?P<metric>\w+)\s*")


def parse_rank(rank: Any) -> Terms:
    """Parse `sweep.rank`: a metric, ``-metric`` or ``weight*metric``, or a list of these.

    The score of a job is the sum of weight times metric, and the lowest score is best.

    Returns
    -------
    tuple
        Weight and metric of each term.

    Raises
    ------
    ConfigError
        If a term is invalid or a metric unknown, with the nearest name.
    """
    entries = [rank] if isinstance(rank, str) else rank
    if not isinstance(entries, (list, tuple)) or not entries:
        raise ConfigError(f"rank={rank}: a metric, or a list of them, as in [pattern_error,-0.1*signal_to_background]")
    terms = []
    for entry in entries:
        match = TERM.fullmatch(str(entry))
        try:
            weight = -1.0 if match and match["sign"] else float((match and match["weight"]) or 1.0)
        except ValueError:
            match = None
        if match is None or not math.isfinite(weight):
            raise ConfigError(f"rank={entry}: a metric expected, -metric or weight*metric")
        if match["metric"] == "ring_bias":
            raise ConfigError(f"rank={entry}: there is no ring_bias any more, it rewarded bad masks; use pattern_error")
        if match["metric"] not in METRICS:
            raise ConfigError(f"rank={entry}: no such metric; {nearest(match['metric'], METRICS)}")
        terms.append((weight, match["metric"]))
    return tuple(terms)
