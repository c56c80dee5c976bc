"""Write the report of a run or of a sweep: one HTML file that opens from disk, without a network."""

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
from typing import Any
from urllib.parse import quote

import numpy as np

from ..io.formats import read_pattern
from ..io.paths import expand_user
from ..io.writing import write_text
from ..model.errors import ConfigError
from ..model.pattern import Pattern
from ..results.command import repeat_command
from ..stages.plot.preview import compare_patterns, previews, small_patterns
from .pages import page_environment, page_part
from .parts import cakes_and_sectors, merged_pattern
from .peaks import peaks_of_run
from .series import REASONS, ROWS, SeriesOfRun

PATTERNS = 10_000  # most patterns that are drawn
JOBS = 16  # most jobs of a sweep whose patterns are drawn
SERIES = 5  # from this number of patterns on, the page shows a heat map and a waterfall
# Keys that belong to one run; the page does not list them as changed settings.
RUN_KEYS = (
    "poni", "images", "output_dir", "overwrite", "resume", "dry_run", "quiet", "cache", "report", "parallel", "sweep"
)  # fmt: skip


LABELS = {"name": "frame", "masked_fraction": "masked", "sigma_over_intensity": "sigma / I"}
Row = Mapping[str, Any]
log = logging.getLogger("xrdpipe")


def write_report(folder: Path) -> Path:
    """Write ``report.html`` from the files of a run or of a sweep.

    Parameters
    ----------
    folder
        Folder of the run or of the sweep.

    Returns
    -------
    Path
        Path of the page.

    Raises
    ------
    ConfigError
        The folder holds neither a run nor a sweep.
    """
    if (folder / "sweep.csv").is_file():
        text = _page("sweep.html.j2", **_sweep(folder))
    elif (folder / "run.json").is_file():
        text = _page("run.html.j2", **_run(folder))
    else:
        raise ConfigError(f"{folder}: neither a run nor a sweep, it has no run.json and no sweep.csv; name its folder")
    path = folder / "report.html"
    write_text(path, text)
    return path


def try_report(folder: Path) -> list[str]:
    """Write the report and return notes for the user; an error becomes a note, because the results matter more."""
    try:
        write_report(folder)
    except Exception as error:  # for example a full disk
        log.exception("no report.html")
        return [f"no report.html: {error}; xrdpipe report {folder} makes it"]
    return []


def main(words: Sequence[str], document: dict[str, Any] | None = None) -> int:
    """``xrdpipe report FOLDER...``: make the page of each; the result is the exit status."""
    if not words or any("=" in word and not Path(word).exists() for word in words):
        raise ConfigError("report: say of which folder, as in xrdpipe report outputs/2026-01-31/12-00-00")
    for word in words:
        page = write_report(Path(expand_user(word)))
        if document is not None:
            document.setdefault("pages", []).append(page.absolute())
        else:
            print(page)
    return 0


def _page(template: str, **values: Any) -> str:
    environment, parts = _templates()
    return str(environment.get_template(template).render(**parts, **values))


def plotly_script() -> str:
    """Return plotly.js of the installed plotly."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


@cache
def _templates() -> tuple[Any, dict[str, Any]]:
    """Return the templates and the parts of every page; by its policy, a page runs only scripts with these hashes."""
    from markupsafe import Markup

    environment = page_environment()
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    style, script = (page_part(environment, name) for name in ("report.css", "report.js"))
    scripts = [Markup(plotly_script()), script]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    return environment, {"style": style, "scripts": scripts, "hashes": " ".join(f"'sha256-{each}'" for each in digests)}


def _read(path: Path) -> dict[str, Any] | None:
    """Read a run.json; return None if it is not the record of a run of xrdpipe."""
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        return dict(run) if run["program"] == "xrdpipe" and isinstance(run["images"], list) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _common_values(folder: Path, run: Row) -> dict[str, Any]:
    """Return the values of the templates that both pages need."""
    config = dict(_flat(run.get("config", {})))
    changed, unchanged = _settings(config)
    return {
        "folder": folder.resolve().name,
        "run": run,
        "command": repeat_command(run),
        "changed": changed,
        "unchanged": unchanged,
        "inputs": run.get("inputs", {}),
    }


def _settings(config: Row) -> tuple[list[tuple[str, str, str]], list[tuple[str, str]]]:
    """Return the settings that differ from the defaults (key, value, default), and all others (key, value)."""
    from ..config.loader import shipped_defaults

    def to_text(value: Any) -> str:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return text if len(text) <= 300 else f"{text[:300]} …"

    shipped = dict(_flat(shipped_defaults()))
    same = {key for key, value in config.items() if key in shipped and value == shipped[key]}
    same |= {key for key in config if key.split(".")[0] in RUN_KEYS}
    defaults = {key: to_text(value) for key, value in shipped.items()}
    changed = [(key, to_text(value), defaults.get(key, "")) for key, value in config.items() if key not in same]
    return changed, [(key, to_text(value)) for key, value in config.items() if key in same]


def _flat(values: Row, above: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        yield from _flat(value, f"{above}{key}.") if isinstance(value, Mapping) else [(above + key, value)]


def _table(rows: Sequence[Row], keys: Iterable[str]) -> dict[str, Any]:
    """Return the columns and rows that the page sorts and filters; numbers are rounded, missing ones are None."""

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
    series = SeriesOfRun(folder)
    drawn, names, patterns, thinned = _patterns(folder, series)
    parts = [*series.keys["metrics"], *(columns := list(series.keys["columns"]))]
    files = ["file"] if series.has_other_files else []
    keys = dict.fromkeys(["name", *files, "status", "masked_fraction", *parts, "seconds", "hash"])
    table = _table(series.rows, keys)
    parts_of_frames, merged = cakes_and_sectors(folder, series), merged_pattern(folder)
    drift = [key for key in dict.fromkeys(["total_intensity", "masked_fraction", *columns]) if key in keys]
    return {
        **_common_values(folder, series.run),
        "total": series.total,
        "done": len(series.done),
        "failed": series.failed,
        "failures": series.failures,
        "noted": series.noted,
        "notes": series.notes,
        "steps": [(step, float(np.median(each)), float(max(each))) for step, each in series.times.items()],
        "previews": previews(folder, series.pictured),
        "rows": ROWS,
        "drift": drift,
        "thinned": thinned,
        "shown": len(drawn),
        "series": len(drawn) >= SERIES,
        "cakes": len(parts_of_frames["cakes"]),
        "sectors": len(parts_of_frames["sectors"]),
        "merged": bool(merged),
        "peaks": peaks_of_run(folder),
        "data": {
            "table": table, "names": names, "shown": drawn, "drift": drift, "labels": columns, **patterns,
            **parts_of_frames, **({"merged": merged} if merged else {}),
        },
    }  # fmt: skip


def _patterns(folder: Path, series: SeriesOfRun) -> tuple[list[int], list[str], dict[str, Any], str]:
    """Return the indices and names of frames with a pattern on the page, these patterns, and what is left out."""
    every = -(-len(series.done) // PATTERNS) or 1
    chosen = series.done[::every]
    wanted, place = dict[int, str](), 0
    for number, record in enumerate(series.records()):
        if place < len(chosen) and number == chosen[place]:
            wanted[number], place = record["name"], place + 1
    drawn, patterns, thinned = small_patterns(folder, list(wanted.values()), range(len(wanted)))
    numbers = list(wanted)
    left_out = f"one in {every} is drawn" if every > 1 and not thinned.startswith("one in") else ""
    text = " and ".join(filter(None, [left_out, thinned]))
    return [numbers[each] for each in drawn], [wanted[numbers[each]] for each in drawn], patterns, text


# -------------------------------------------------------------------------------------------------------------- sweep


def _sweep(folder: Path) -> dict[str, Any]:
    cells = _sweep_table(folder / "sweep.csv")
    rows = [{key: _number(text) for key, text in row.items()} for row in cells]
    if ranked := bool(rows) and "rank" in rows[0]:
        rows.sort(key=lambda row: row["rank"] if isinstance(row["rank"], int | float) else math.inf)
    records = {path.parent: run for path in folder.glob("**/run.json") if (run := _read(path))}
    folders = {run["job"]: path for path, run in records.items() if run.get("job") is not None}
    folders |= {job: folder / str(job) for job in folders if (folder / str(job)) in records}
    runs = {job: records[path] for job, path in folders.items()}
    keys = dict.fromkeys(text.lstrip("+").partition("=")[0] for run in runs.values() for text in run["command"])
    columns = [key for key in (rows[0] if rows else ()) if key != "error"]
    varied = [key for key in columns if key in keys]
    settings = {_number(row["job"]): ", ".join(f"{key}={row[key]}" for key in varied) for row in cells}
    labels = {row["job"]: settings[row["job"]] or f"job {row['job']}" for row in rows}  # in the order of rows
    good = [row["job"] for row in rows if row["status"] == "done" and row["job"] in runs]
    frame, patterns = _first_shared_frame(folders, runs, good[:JOBS])
    axis, drawn = compare_patterns(patterns)
    best = next(iter(drawn), good[0] if good else next(iter(runs), None))
    failures = [
        (f"job {row['job']}: {labels[row['job']]}", row.get("error", "")) for row in rows if row["status"] != "done"
    ]
    no_metric = {*varied, "job", "rank", "best", "status", "done", "failed"}
    numbers = [
        key for key in columns if key not in no_metric and any(isinstance(row[key], int | float) for row in rows)
    ]
    reports = {job: path / "report.html" for job, path in folders.items() if (path / "report.html").is_file()}
    links = [quote(str(reports[job].relative_to(folder))) if job in reports else "" for job in labels]
    return {
        **_common_values(folder, runs.get(best, {})),
        "total": len(rows),
        "done": len(rows) - len(failures),
        "failures": failures[:REASONS],
        "ranked": ranked,
        "best": best,
        "label": labels.get(best, ""),
        "varied": varied,
        "numbers": numbers,
        **_verdict(folder),
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


def _verdict(folder: Path) -> dict[str, Any]:
    """Return from ``sweep.json`` what the page shows of it; nothing where it cannot be read.

    ``spreads``: the share of the spread of the scores that each key causes, largest first; ``as_good``: the jobs that
    cannot be told apart from the best; ``unranked``: why no job is ranked.
    """
    try:
        verdict = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
        shares = [(str(each["key"]), float(each["share"])) for each in verdict["spreads"]]
        as_good = [str(job) for job in verdict.get("as_good", ())]
        unranked = str(verdict.get("unranked", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {"spreads": [], "as_good": [], "unranked": ""}
    finite = (each for each in shares if math.isfinite(each[1]))
    return {"spreads": sorted(finite, key=lambda each: -each[1]), "as_good": as_good, "unranked": unranked}


def _number(text: str | None) -> Any:
    """Return a cell of a CSV file as a number if it is one, as None if it is empty, else as text."""
    for kind in (int, float):
        try:
            return kind(text or "")
        except ValueError:
            continue
    return text or None


def _first_shared_frame(
    folders: Mapping[int, Path], runs: Mapping[int, Row], jobs: Sequence[int]
) -> tuple[str, dict[int, Pattern]]:
    """Return the first of the frames that most jobs have done, and its pattern in each job."""
    done = [image["name"] for job in jobs for image in runs[job]["images"] if image["status"] == "done"]
    frame = max(dict.fromkeys(done), key=done.count, default="")
    return frame, {job: pattern for job in jobs if (pattern := read_pattern(folders[job], frame))}
