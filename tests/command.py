"""The ways in which tests run the program, and what it leaves."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from xrdpipe.cli.main import main

MODULE = (sys.executable, "-m", "xrdpipe")
SCRIPT = (str(Path(sysconfig.get_path("scripts"), "xrdpipe")),)
FAST = ("plot=none", "integ.npt=100", "report=false")
P = "poni=data/tiny.poni"  # the geometry of the frames that tests/conftest.py makes
LIMIT = 300  # seconds that a process may take on a busy machine


class CommandResult(NamedTuple):
    """What a run said in the end."""

    status: int
    out: str
    err: str


def start(
    *words: object, cwd: Path, program: Sequence[str] = MODULE, env: Mapping[str, str] | None = None, **keys: Any
) -> subprocess.Popen[str]:
    """The program in a process, and in a process group, of its own."""
    return subprocess.Popen(
        [*program, *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONWARNINGS": "default", **(env or {})},
        text=True,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **keys},
    )


def xrdpipe(
    *words: object, cwd: Path, program: Sequence[str] = MODULE, env: Mapping[str, str] | None = None
) -> CommandResult:
    """Run the program to its end, in a process of its own."""
    with start(*words, cwd=cwd, program=program, env=env) as process:
        try:
            out, err = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:  # or it would be waited for
            process.kill()
            raise
    return CommandResult(process.returncode, out, err)


def call(*words: object) -> CommandResult:
    """The same in this process, in its folder."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main([str(word) for word in words])
    return CommandResult(status, out.getvalue(), err.getvalue())


def tree(folder: Path) -> dict[str, bytes]:
    """Every file under a folder with its content, and every folder with none."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def results(folder: Path, *patterns: str) -> dict[str, bytes]:
    """The patterns and masks in a folder, by name."""
    wanted = patterns or ("*.chi", "masks/*.npy")
    return {str(path.relative_to(folder)): path.read_bytes() for each in wanted for path in sorted(folder.glob(each))}


def summary_rows(folder: Path) -> list[dict[str, str]]:
    """The rows of a run's summary.csv."""
    with (folder / "summary.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def run_record(folder: Path) -> dict[str, Any]:
    """The content of a run's run.json."""
    loaded: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return loaded


def touch_files(folder: Path, *names: str) -> list[Path]:
    """Empty files of these names, in folders that are made on the way."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return [folder / name for name in names]
