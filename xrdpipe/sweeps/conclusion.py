"""Make the table and the verdict of a sweep from the records of its jobs."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..config.rank import Terms
from ..io.writing import write_json, write_text
from ..numerics.metrics import METRICS
from ..results.command import repeat_command
from .verdict import INCOMPARABLE, beyond_masks, median_metrics, rank_rows, score, setting_effects, ties

FIRST, LAST = ("rank", "score", "status", "done", "failed"), ("error",)  # columns, with the metrics between them


MAX_COMMAND = 2000  # characters of a command line on the terminal


def conclude(
    folder: Path,
    rank: Terms,
    before: Mapping[Path, int] = MappingProxyType({}),
    *,
    named: bool = True,
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Write ``sweep.csv``, with a row for each job, best first, and ``sweep.json``, the verdict; print both.

    Parameters
    ----------
    folder, rank
        Folder of the sweep; weight and metric of each term of the score.
    before
        Modification times in ns of earlier records, by path. An unchanged record does not belong to this sweep.
    named
        The user named the rank. Otherwise no job has a score if a key varies that is no setting of a mask.
    quiet
        Print nothing.

    Returns
    -------
    list of dict
        The rows of the table, best first.
    """
    runs = _records(folder, before)
    commands = [dict(text.lstrip("+").partition("=")[::2] for text in each["command"]) for each in runs]
    varied = _varied(commands)
    others = [] if named else beyond_masks(varied)
    unscored = {"score": ""} if others else {}
    jobs = [_row(each, command, varied, rank) | unscored for each, command in zip(runs, commands, strict=True)]
    rows, images = rank_rows(jobs), {each["job"]: each["images"] for each in runs}
    metrics = (name for name in METRICS if any(name in row for row in rows))
    write_text(folder / "sweep.csv", _csv(rows, ["job", *varied, *FIRST, *metrics, *LAST]))
    best = next((row["job"] for row in rows if row["rank"] == 1), None)
    command = next((repeat_command(each) for each in runs if each["job"] == best), "")
    verdict = {
        "program": "xrdpipe",
        "rank": [{"metric": metric, "weight": weight} for weight, metric in rank],
        **{"best": best, "command": command, "as_good": ties(rows, images, rank)},
        "unranked": f"{', '.join(others)}: {INCOMPARABLE}" if others else "",
        "spreads": setting_effects(rows, varied),
        "failures": [_failure(row, varied) for row in rows if row["status"] != "done"],
    }
    write_json(folder / "sweep.json", verdict)
    if not quiet:
        _show(rows, varied, rank, verdict, folder)
    return rows


def _varied(commands: list[dict[str, str]]) -> list[str]:
    keys = dict.fromkeys(key for command in commands for key in command)
    return [key for key in keys if len({command.get(key) for command in commands}) > 1]


def _records(folder: Path, before: Mapping[Path, int]) -> list[dict[str, Any]]:
    records = [path for path in folder.rglob("run.json") if path.stat().st_mtime_ns != before.get(path)]
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in records]
    return sorted((each for each in runs if each.get("job") is not None), key=lambda each: int(each["job"]))


def _row(each: dict[str, Any], command: dict[str, str], varied: list[str], rank: Terms) -> dict[str, Any]:
    images = each["images"]
    failures = [f"{image['file']}: {image['error']}" for image in images if image["status"] == "failed"]
    metrics = median_metrics(images)
    total = score(metrics, rank)
    return {
        "job": each["job"],
        **{key: command.get(key, "") for key in varied},
        "score": float(f"{total:.6g}") if math.isfinite(total) else "",
        "status": each["status"],
        "done": sum(image["status"] == "done" for image in images),
        "failed": len(failures),
        **{name: float(f"{value:.6g}") for name, value in metrics.items()},
        "seconds": each.get("seconds", ""),
        "error": each.get("error", "; ".join(failures) or _unfinished(each)),
    }


def _unfinished(each: Mapping[str, Any]) -> str:
    waiting = sum(image["status"] == "waiting" for image in each["images"])
    return f"{waiting} of {len(each['images'])} frames are not done; resume=true does them" if waiting else ""


def _failure(row: Mapping[str, Any], varied: Sequence[str]) -> dict[str, Any]:
    what = " ".join(f"{key}={row[key]}" for key in varied)
    return {"job": row["job"], "what": what, "status": row["status"], "reason": row["error"]}


def _csv(rows: list[dict[str, Any]], columns: list[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _show(rows: list[dict[str, Any]], varied: list[str], rank: Terms, verdict: Mapping[str, Any], folder: Path) -> None:
    from ..report.tables import print_table

    states = ("status", "done", "failed") if verdict["failures"] else ()
    metrics = [
        metric for _, metric in rank if rank != ((1.0, metric),)
    ]  # a single metric of weight 1 is the score itself
    columns = dict.fromkeys(["rank", "job", *varied, "score", *metrics, "masked_fraction", *states, "seconds"])
    print_table([{key: _short(row.get(key, "")) for key in columns} for row in rows])
    for failure in verdict["failures"]:
        print(f"job {failure['job']} {failure['status']} ({failure['what']}): {failure['reason']}")
    shares = [f"{each['key']} {100 * each['share']:.0f} %" for each in verdict["spreads"]]
    if shares:
        print(f"what matters (means of its values apart, of the spread of all scores): {', '.join(shares)}")
    if verdict["best"] is not None:
        if verdict["as_good"]:
            equals = ", ".join(f"job {job}" for job in verdict["as_good"])
            print(f"job {verdict['best']} and {equals} cannot be told apart")
        line = verdict["command"] if len(verdict["command"]) <= MAX_COMMAND else "(its command line is in sweep.json)"
        print(f"best: job {verdict['best']}; it alone:\n  {line}")
    elif verdict["unranked"]:
        print(f"no job is ranked: {verdict['unranked']}")
    elif any(row["status"] == "done" for row in rows):
        missing = ", ".join(metric for _, metric in rank if all(metric not in row for row in rows))
        print(f"no job is ranked: none has {missing}; name another metric with sweep.rank=...")
    print(f"{len(rows)} jobs in {folder}, see sweep.csv there")


def _short(value: Any) -> Any:
    """Return a cell for the terminal; long numbers are rounded to four digits."""
    try:
        return f"{float(value):.4g}" if len(str(value)) > 6 else value
    except ValueError:
        return value
