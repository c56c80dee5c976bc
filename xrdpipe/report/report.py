"""Report: the folder of a run or of a sweep as one HTML file that opens from disk, without a network."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

from ..io.formats import read_pattern
from ..io.paths import expand_user
from ..io.writing import write_text
from ..model.errors import ConfigError
from ..model.pattern import Pattern
from ..results.command import repeat_command
from ..results.journal import journal
from ..stages.plot.preview import compare_patterns, previews, small_patterns

ROWS = 10_000  # of the table, at most
REASONS = 500  # failures that are listed, at most
JOBS = 16  # of a sweep whose patterns are drawn, at most
SERIES = 10  # patterns from which on they are a series: heat map and waterfall
NO_SETTINGS = (
    "poni", "images", "output_dir", "overwrite", "resume", "dry_run", "quiet", "cache", "report", "parallel", "sweep"
)  # fmt: skip


LABELS = {"name": "frame", "masked_fraction": "masked", "sigma_over_intensity": "sigma / I"}
Row = Mapping[str, Any]
log = logging.getLogger("xrdpipe")


def write_report(folder: Path) -> Path:
    """Make ``report.html`` of what stands in the folder of a run or of a sweep; the result is its path.

    ConfigError where the folder is of neither.
    """
    if (folder / "sweep.csv").is_file():
        text = _page("sweep.html.j2", **_sweep(folder))
    elif (folder / "run.json").is_file():
        text = _page("run.html.j2", **_run(folder))
    else:
        raise ConfigError(f"{folder}: neither a run nor a sweep, it has no run.json and no sweep.csv")
    path = folder / "report.html"
    write_text(path, text)
    return path


def try_report(folder: Path) -> list[str]:
    """`write_report`, where the results matter more than the page; what the user should know."""
    try:
        write_report(folder)
    except Exception as error:  # a full disk, a bug: the results are there all the same
        log.exception("no report.html")
        return [f"no report.html: {error}; xrdpipe report {folder} makes it"]
    return []


def main(words: Sequence[str]) -> int:
    """``xrdpipe report FOLDER...``: make the page of each; the result is the exit status."""
    if not words or any("=" in word and not Path(word).exists() for word in words):
        raise ConfigError("report: say of which folder, as in xrdpipe report outputs/2026-01-31/12-00-00")
    for word in words:
        print(write_report(Path(expand_user(word))))
    return 0


def _page(template: str, **values: Any) -> str:
    made, parts = _templates()
    return str(made.get_template(template).render(**parts, **values))


@cache
def _templates() -> tuple[Any, dict[str, Any]]:
    """The templates, and what every page has; no other script runs in it: the policy names ours by their hashes."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    loader = PackageLoader("xrdpipe.report")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    style, script = (Markup(loader.get_source(made, name)[0]) for name in ("report.css", "report.js"))
    scripts = [Markup(get_plotlyjs()), script]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    return made, {"style": style, "scripts": scripts, "hashes": " ".join(f"'sha256-{each}'" for each in digests)}


def _read(path: Path) -> dict[str, Any] | None:
    """A run.json; None where it is of no run of xrdpipe."""
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        return dict(run) if run["program"] == "xrdpipe" and isinstance(run["images"], list) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _what(folder: Path, run: Row) -> dict[str, Any]:
    """What ran, as both pages say it."""
    config = dict(_flat(run.get("config", {})))
    changed, rest = _settings(config)
    return {
        "folder": folder.resolve().name,
        "run": run,
        "command": repeat_command(run),
        "changed": changed,
        "rest": rest,
        "inputs": run.get("inputs", {}),
    }


def _settings(config: Row) -> tuple[list[tuple[str, str, str]], list[tuple[str, str]]]:
    """Settings that differ from the defaults (key, value, default), and all others (key, value)."""
    from ..config.loader import shipped_defaults

    def told(value: Any) -> str:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return text if len(text) <= 300 else f"{text[:300]} …"

    shipped = dict(_flat(shipped_defaults()))
    same = {key for key, value in config.items() if key in shipped and value == shipped[key]}
    same |= {key for key in config if key.split(".")[0] in NO_SETTINGS}
    before = {key: told(value) for key, value in shipped.items()}
    changed = [(key, told(value), before.get(key, "")) for key, value in config.items() if key not in same]
    return changed, [(key, told(value)) for key, value in config.items() if key in same]


def _flat(values: Row, above: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        yield from _flat(value, f"{above}{key}.") if isinstance(value, Mapping) else [(above + key, value)]


def _table(rows: Sequence[Row], keys: Iterable[str]) -> dict[str, Any]:
    """What the page sorts and filters; numbers short, None where there is none."""

    def cell(value: Any) -> Any:
        if isinstance(value, float):
            return float(f"{value:.6g}") if math.isfinite(value) else None
        return value if value is None or isinstance(value, int) else str(value)

    labels = {key: LABELS.get(key) or (key if "." in key else key.replace("_", " ")) for key in keys}
    units = {key: "%" if key.startswith("masked_") else "" for key in labels}
    columns = [{"key": key, "label": label, "unit": units[key]} for key, label in labels.items()]
    return {"columns": columns, "rows": [[cell(row.get(key)) for key in labels] for row in rows]}


# ---------------------------------------------------------------------------------------------------------------- run


def _run(folder: Path) -> dict[str, Any]:
    run = _read(folder / "run.json")
    if run is None:
        raise ConfigError(f"{folder / 'run.json'}: is of no run of xrdpipe")
    parts = ("metrics", "columns", "steps")
    latest = {record["name"]: record for record in [*run["images"], *journal(folder)]}
    records = [{**record, **{part: record.get(part) or {} for part in parts}} for record in latest.values()]
    names = [record["name"] for record in records]
    done = [number for number, record in enumerate(records) if record["status"] == "done"]
    shown, patterns, thinned = small_patterns(folder, names, done)
    failures = [(record["file"], record["error"]) for record in records if record["status"] == "failed"]
    notes = [(record["file"], "; ".join(record["notes"])) for record in records if record.get("notes")]
    metrics, columns, steps = (list(dict.fromkeys(k for record in records for k in record[part])) for part in parts)
    times = {step: [record["steps"][step] for record in records if step in record["steps"]] for step in steps}
    files = ["file"] if any(Path(record["file"]).stem != record["name"] for record in records) else []
    keys = dict.fromkeys(["name", *files, "status", "masked_fraction", *metrics, *columns, "seconds", "hash"])
    rows = [{**record["metrics"], **record["columns"], **record} for record in records[:ROWS]]
    drift = [key for key in dict.fromkeys(["total_intensity", "masked_fraction", *columns]) if key in keys]
    return {
        **_what(folder, run),
        "total": len(records),
        "done": len(done),
        "failed": len(failures),
        "failures": failures[:REASONS],
        "noted": len(notes),
        "notes": notes[:REASONS],
        "steps": [(step, median(seconds), max(seconds)) for step, seconds in times.items()],
        "previews": previews(folder, records),
        "rows": ROWS,
        "drift": drift,
        "thinned": thinned,
        "shown": len(shown),
        "series": len(shown) >= SERIES,
        "data": {
            "table": _table(rows, keys), "names": names, "shown": shown, "drift": drift, "labels": columns, **patterns
        },
    }  # fmt: skip


# -------------------------------------------------------------------------------------------------------------- sweep


def _sweep(folder: Path) -> dict[str, Any]:
    typed = _sweep_table(folder / "sweep.csv")
    rows = [{key: _number(text) for key, text in row.items()} for row in typed]
    if ranked := bool(rows) and "rank" in rows[0]:
        rows.sort(key=lambda row: row["rank"] if isinstance(row["rank"], int | float) else math.inf)
    found = {path.parent: run for path in folder.glob("**/run.json") if (run := _read(path))}
    homes = {run["job"]: home for home, run in found.items() if run.get("job") is not None}
    homes |= {job: folder / str(job) for job in homes if (folder / str(job)) in found}
    runs = {job: found[home] for job, home in homes.items()}
    keys = dict.fromkeys(text.lstrip("+").partition("=")[0] for run in runs.values() for text in run["command"])
    columns = [key for key in (rows[0] if rows else ()) if key != "error"]
    varied = [key for key in columns if key in keys]
    named = {_number(row["job"]): ", ".join(f"{key}={row[key]}" for key in varied) for row in typed}
    labels = {row["job"]: named[row["job"]] or f"job {row['job']}" for row in rows}  # as typed, in the order of rows
    good = [row["job"] for row in rows if row["status"] == "done" and row["job"] in runs]
    frame, patterns = _common(homes, runs, good[:JOBS])
    axis, drawn = compare_patterns(patterns)
    best = next(iter(drawn), good[0] if good else next(iter(runs), None))
    failures = [
        (f"job {row['job']}: {labels[row['job']]}", row.get("error", "")) for row in rows if row["status"] != "done"
    ]
    no_metric = {*varied, "job", "rank", "best", "status", "done", "failed"}
    numbers = [
        key for key in columns if key not in no_metric and any(isinstance(row[key], int | float) for row in rows)
    ]
    reports = {job: home / "report.html" for job, home in homes.items() if (home / "report.html").is_file()}
    links = [quote(str(reports[job].relative_to(folder))) if job in reports else "" for job in labels]
    return {
        **_what(folder, runs.get(best, {})),
        "total": len(rows),
        "done": len(rows) - len(failures),
        "failures": failures[:REASONS],
        "ranked": ranked,
        "best": best,
        "label": labels.get(best, ""),
        "varied": varied,
        "numbers": numbers,
        "spreads": _spreads(folder),
        "frame": frame,
        "drawn": len(drawn),
        "data": {
            "table": {**_table(rows, columns), "links": links},
            "jobs": [{"row": list(labels).index(job), **pattern} for job, pattern in drawn.items()],
            "titles": list(labels.values()),
            "best": list(labels).index(best) if ranked and best in labels else None,
            "varied": varied,
            "numbers": numbers,
            "axis": axis,
        },
    }


def _sweep_table(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not all({"job", "status"} <= set(row) and None not in row for row in rows):
        raise ConfigError(f"{path}: is of no sweep of xrdpipe")
    return rows


def _spreads(folder: Path) -> list[tuple[str, float]]:
    """How much of what the scores differ each key causes, as the sweep itself found; the largest first."""
    try:
        verdict = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
        found = [(str(each["key"]), float(each["share"])) for each in verdict["spreads"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return sorted((each for each in found if math.isfinite(each[1])), key=lambda each: -each[1])


def _number(text: str | None) -> Any:
    """A cell of a CSV file as a number, None where it is empty, or as it is."""
    for kind in (int, float):
        try:
            return kind(text or "")
        except ValueError:
            continue
    return text or None


def _common(homes: Mapping[int, Path], runs: Mapping[int, Row], jobs: Sequence[int]) -> tuple[str, dict[int, Pattern]]:
    """The first frame that most of the jobs have done, and its patterns."""
    done = [image["name"] for job in jobs for image in runs[job]["images"] if image["status"] == "done"]
    frame = max(dict.fromkeys(done), key=done.count, default="")
    return frame, {job: chi for job in jobs if (chi := read_pattern(homes[job], frame))}
