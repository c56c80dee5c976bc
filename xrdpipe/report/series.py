"""What the report shows of the frames of a run, taken record by record."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..model.errors import ConfigError
from ..results.journal import journal
from ..results.run_file import IMAGES, RUN, run_rows
from ..stages.plot.preview import FOLDER, PICTURES

ROWS = 10_000  # most rows of the table
REASONS = 500  # most failures that are listed
PARTS = ("metrics", "columns", "steps")
Row = Mapping[str, Any]


class SeriesOfRun:
    """Frames of a run, from its files; only the first ones stay in memory.

    Parameters
    ----------
    folder
        Folder of the run.

    Attributes
    ----------
    run
        Content of ``run.json`` without the records.
    total, failed, noted
        Numbers of frames: all, those that failed, and those with notes.
    done
        Indices of the frames that are done.
    rows
        Single values of the first records, with their metrics and header columns.
    failures, notes
        File and reason, file and note, of the first ones that have some.
    pictured
        Records of the frames with previews.
    keys
        Names of the metrics, header columns and steps.
    times
        Seconds that each step took.
    has_other_files
        A file has another stem than the name of its frame.

    Raises
    ------
    ConfigError
        The folder holds no run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._journal = journal(folder)  # of a run in progress
        self.run: Row = {}
        self.total = self.failed = self.noted = 0
        self.done, self.rows = array("q"), list[dict[str, Any]]()
        self.failures, self.notes = list[tuple[str, str]](), list[tuple[str, str]]()
        self.pictured, self.has_other_files = list[dict[str, Any]](), False
        self.keys: dict[str, dict[str, None]] = {part: {} for part in PARTS}
        self.times: dict[str, array[float]] = {}
        self._with_preview = {path.stem for path in folder.glob(f"{FOLDER}/*.png")}
        for record in self.records():
            self._take(record)

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the records of all frames, the latest of each."""
        rows = self._rows()
        if self._journal:
            rows = iter({row["name"]: row for row in rows}.values())
        for row in rows:
            yield {**row, **{part: row.get(part) or {} for part in PARTS}}

    def _rows(self) -> Iterator[dict[str, Any]]:
        path = self._folder / RUN
        try:
            run = yield from run_rows(path)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: is of no run of xrdpipe") from error
        if run.get("program") != "xrdpipe" or run.get(IMAGES) != []:
            raise ConfigError(f"{path}: is of no run of xrdpipe")
        self.run = run
        yield from self._journal

    def _take(self, record: dict[str, Any]) -> None:
        if record["status"] == "done":
            self.done.append(self.total)
        self.total += 1
        if record["status"] == "failed":
            self.failed += 1
            self.failures += [(record["file"], record["error"])] if self.failed <= REASONS else []
        if record.get("notes"):
            self.noted += 1
            self.notes += [(record["file"], "; ".join(record["notes"]))] if self.noted <= REASONS else []
        for part in PARTS:
            self.keys[part] |= dict.fromkeys(record[part])
        for step, seconds in record["steps"].items():
            self.times.setdefault(step, array("f")).append(seconds)
        self.has_other_files = self.has_other_files or Path(record["file"]).stem != record["name"]
        if len(self.rows) < ROWS:
            row = {**record["metrics"], **record["columns"], **record}
            self.rows.append({key: value for key, value in row.items() if not isinstance(value, (dict, list))})
        if record["name"] in self._with_preview and len(self.pictured) < PICTURES:
            self.pictured.append(record)
