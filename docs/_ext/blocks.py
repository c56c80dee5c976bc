"""The code blocks of a page: read them, run them in a folder, compare what they print with what the page shows.

A comment before a block says how to treat it:

- ``<!-- not run: REASON -->``: nobody can run it here, for example because it needs a cluster;
- ``<!-- file: NAME -->``: it is the content of this file;
- ``<!-- part of: FILE -->``: it is a part of this file of the repository;
- ``<!-- exit: 2 -->``: the command ends with this exit status;
- ``<!-- tolerance: 0.5 -->``: numbers of its output, which are estimates, may differ by half;
- ``<!-- empty folder -->``, once on a page: the page begins with nothing but its own commands;
- ``<!-- run: COMMAND -->``: a command that a reader does not need to see.

Blocks of ``sh`` run one after the other as in one terminal: variables and the current folder stay.
A block of ``text`` after a block that is run shows its output. ``...`` in it stands for any text.
"""

from __future__ import annotations

import io
import math
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<language>\S*)( .*)?$")
COMMENT = re.compile(r"^<!-- (?P<word>not run|file|part of|exit|tolerance|run|empty folder)(: (?P<value>.*))? -->$")
NUMBER = re.compile(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?%?,?")
CHANGING = re.compile(  # times, dates, versions and hashes
    r"\d{4}-\d\d-\d\d([T ]\d\d[:-]\d\d[:-]\d\d\S*)?|\d+\.\d+\.\d+\S*"
    r"|\b\d+(\.\d+)? (s|seconds|frames/s)\b|\b[0-9a-f]{16,}\b"
)
TOLERANCE = 0.05  # relative difference of two numbers that are taken as equal: libraries of other versions
LIMIT = 600  # seconds that a block may take


@dataclass(frozen=True)
class Block:
    """A block of a page: its language and text, the line where it begins, its comments, and the output shown."""

    language: str
    text: str
    line: int
    comments: dict[str, str] = field(default_factory=dict)
    output: str | None = None

    @property
    def runs(self) -> bool:
        """Whether the block is a command or a program that is run."""
        return self.language in ("sh", "python") and not {"not run", "file", "part of"} & set(self.comments)


def read(page: Path) -> list[Block]:
    """Return the blocks of a page in their order, the hidden commands among them."""
    found: list[Block] = []
    for block in _parsed(page.read_text(encoding="utf-8").splitlines()):
        if block.language == "text" and not block.comments and found and found[-1].runs and found[-1].output is None:
            found[-1] = replace(found[-1], output=block.text)
        else:
            found.append(block)
    return found


def _parsed(lines: list[str]) -> Iterator[Block]:
    comments: dict[str, str] = {}
    numbered = iter(enumerate(lines, 1))
    for number, line in numbered:
        if comment := COMMENT.match(line.strip()):
            word, value = comment["word"], comment["value"] or ""
            if word == "run":
                yield Block("sh", value, number)
            elif word == "empty folder":
                yield Block(word, "", number)
            else:
                comments[word] = value
        elif fence := FENCE.match(line):
            content = []
            for _, inner in numbered:
                if inner.strip() == fence["ticks"]:
                    break
                content.append(inner.removeprefix(fence["indent"]))
            yield Block(fence["language"], "\n".join(content), number, comments)
            comments = {}


def run(block: Block, folder: Path, names: dict[str, Any], programs: Path | None = None) -> str:
    """Run a block, or write the file that it is, and return what it printed.

    Parameters
    ----------
    block
        The block.
    folder
        Where it runs.
    names
        Variables of the Python blocks before it on the same page.
    programs
        A folder of programs that come before those of the environment of this Python.

    Raises
    ------
    AssertionError
        The exit status is another one, or the output differs from the one that the page shows.
    """
    if name := block.comments.get("file"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(block.text + "\n", encoding="utf-8")
        return ""
    if not block.runs:
        return ""
    if block.language == "python":
        printed = io.StringIO()
        with chdir(folder), redirect_stdout(printed):
            exec(compile(block.text, f"line {block.line}", "exec"), names)
        out, err = printed.getvalue(), ""
    else:
        out, err = _shell(block, folder, programs)
    if block.output is not None:
        tolerance = float(block.comments.get("tolerance", TOLERANCE))
        same = any(matches(block.output, each, tolerance) for each in (out, _without_progress(err)))
        assert same, f"line {block.line}: the page shows\n{block.output}\nthe output is\n{out}\n{err}"
    return out + err


def _shell(block: Block, folder: Path, programs: Path | None) -> tuple[str, str]:
    terminal = folder.with_name(f"{folder.name}.terminal")
    if not terminal.exists():
        places = [*([str(programs)] if programs else []), str(Path(sys.executable).parent), os.environ["PATH"]]
        start = {"PATH": os.pathsep.join(places), "DOCS": str(DOCS), "COLUMNS": "120"}
        terminal.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in start.items()))
    file = shlex.quote(str(terminal))
    keep = f"""trap 'status=$?; {{ export -p; printf "cd %q\\n" "$PWD"; }} > {file}; exit $status' EXIT"""
    done = subprocess.run(
        ["bash", "-c", f"source {file}\n{keep}\nset -e\n{block.text}"],
        cwd=folder,
        text=True,
        capture_output=True,
        timeout=LIMIT,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    expected = int(block.comments.get("exit", 0))
    assert done.returncode == expected, (
        f"line {block.line}: exit status {done.returncode}\n{block.text}\n{done.stdout}\n{done.stderr}"
    )
    return done.stdout, done.stderr


def _without_progress(text: str) -> str:
    return "\n".join(
        line for line in text.splitlines() if not re.match(r"xrdpipe: (\d+/\d+ frames|making frames)", line)
    )


def matches(shown: str, printed: str, tolerance: float = TOLERANCE) -> bool:
    """Return whether an output is the one that a page shows, apart from times, dates, versions and last digits."""
    return _match(_words(shown), _words(printed), tolerance)


def _words(text: str) -> list[str]:
    lines, timed = [], False
    for line in text.splitlines():
        timed = line.rstrip().endswith("seconds") or (timed and bool(line.strip()))
        if timed:
            line = re.sub(r"(?<=\s)\d+(\.\d+)?\s*$", "TIME", line)
        lines.append(CHANGING.sub("CHANGING", line))
    return " ".join(lines).split()


def _match(shown: list[str], printed: list[str], tolerance: float) -> bool:
    """Return whether words agree; "..." stands for any number of them."""
    parts = [list(words) for dots, words in groupby(shown, "...".__eq__) if not dots]
    if "..." not in shown:
        return len(shown) == len(printed) and _same(shown, printed, tolerance)
    at = 0
    for number, part in enumerate(parts):
        last = number == len(parts) - 1 and shown[-1] != "..."
        first = number == 0 and shown[0] != "..."
        places = [len(printed) - len(part)] if last else [0] if first else range(at, len(printed) - len(part) + 1)
        found = next((place for place in places if place >= at and _same(part, printed[place:], tolerance)), None)
        if found is None:
            return False
        at = found + len(part)
    return True


def _same(words: list[str], others: list[str], tolerance: float) -> bool:
    return len(others) >= len(words) and all(_equal(*pair, tolerance) for pair in zip(words, others, strict=False))


def _equal(one: str, other: str, tolerance: float) -> bool:
    if one == other:
        return True
    if not (NUMBER.fullmatch(one) and NUMBER.fullmatch(other)):
        return False
    first, second = (float(word.rstrip(",").rstrip("%")) for word in (one, other))
    return math.isclose(first, second, rel_tol=tolerance)
