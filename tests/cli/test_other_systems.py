"""What can be simulated here of Windows, macOS and terminals of other encodings; docs/installation.md has the table."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from command import FAST, LIMIT, P, results, xrdpipe
from hydra.errors import MissingConfigException

from xrdpipe.cli.main import main
from xrdpipe.config.arguments import translate
from xrdpipe.config.loader import Loader
from xrdpipe.execution.engines.queues import needs_submitit
from xrdpipe.execution.folder_lock import LOCK, locked_folder
from xrdpipe.io.writing import write_text
from xrdpipe.model.errors import ConfigError, InUseError
from xrdpipe.model.naming import assign_names
from xrdpipe.model.reference import Reference

# A program of Python without what Windows lacks; the lock of a folder has a test of its own.
WITHOUT_POSIX = """
import os, signal, sys
import multiprocessing, subprocess, tempfile  # before they miss what their POSIX half needs
for module in ("grp", "pty", "pwd", "resource", "termios"):
    sys.modules[module] = None
for name in ("getuid", "geteuid", "getgid", "killpg", "mkfifo", "pread", "sched_getaffinity", "setsid"):
    delattr(os, name)
for name in ("SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2"):
    delattr(signal, name)
from xrdpipe.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
SPAWN = """
import sys
from joblib.externals.loky.backend import context
if __name__ == "__main__":
    context.set_start_method("spawn")
    from xrdpipe.cli.main import main
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("path", [r"C:\new\data\t.poni", r"\\server\share\t.poni", "C:\\data\\"])
def test_a_path_of_windows_arrives_as_typed(path: str) -> None:
    overrides, _ = translate([f"poni={path}"])
    assert eval_path(overrides[0]) == path


def eval_path(override: str) -> str:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return str(OverridesParser.create().parse_override(override).value())


def test_quotes_that_cmd_does_not_take_off_are_taken_off() -> None:
    assert translate([r"'C:\data\*.tif'", "data/*.tif"])[1] == [r"C:\data\*.tif", "data/*.tif"]


def test_a_file_whose_name_has_quotes_is_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("'a.tif'").touch()
    assert translate(["'a.tif'"])[1] == ["'a.tif'"]


def test_a_name_that_the_terminal_cannot_show_is_escaped(
    frames: list[Path], poni: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    frames[0].rename("никель.tiff")
    bytes_ = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(bytes_, encoding="cp1252"))
    assert main([P, "никель.tiff", "output_dir=out", *FAST]) == 0
    sys.stdout.flush()
    assert rb"\u043d\u0438" in bytes_.getvalue()
    assert Path("out/никель.chi").is_file()


@pytest.mark.slow
def test_a_run_in_a_locale_of_ascii_writes_the_same_files(frames: list[Path], poni: Path, tmp_path: Path) -> None:
    frames[0].rename(tmp_path / "ångström.tiff")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for folder, env in (("one", {}), ("two", plain)):
        assert xrdpipe(P, "ångström.tiff", f"output_dir={folder}", *FAST, cwd=tmp_path, env=env).status == 0
    one, two = (results(tmp_path / folder)["ångström.chi"].splitlines() for folder in ("one", "two"))
    # The header escapes the name.
    assert [line for line in one if b"ngstr" not in line] == [line for line in two if b"ngstr" not in line]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "words"), [(WITHOUT_POSIX, []), (SPAWN, ["parallel.backend=loky", "parallel.n_jobs=2"])]
)
def test_a_run_without_posix_and_with_spawned_workers_gives_the_same_bytes(
    program: str, words: list[str], frames: list[Path], poni: Path, tmp_path: Path
) -> None:
    monkey = tmp_path / "program.py"
    monkey.write_text(program, encoding="utf-8")
    command = [sys.executable, str(monkey), P, *map(str, frames), "output_dir=there", *FAST, *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    assert xrdpipe(P, *frames, "output_dir=here", *FAST, cwd=tmp_path).status == 0
    assert results(tmp_path / "here") == results(tmp_path / "there") != {}


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, with its lock of a byte."""

    import fcntl

    def locking(file: int, mode: int, size: int) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, "Permission denied") from None

    msvcrt = ModuleType("msvcrt")
    vars(msvcrt).update(locking=locking, LK_NBLCK=2)
    monkeypatch.setitem(sys.modules, "msvcrt", msvcrt)
    monkeypatch.setattr(sys, "platform", "win32")


@pytest.mark.usefixtures("windows")
def test_a_folder_is_locked_as_on_windows(tmp_path: Path) -> None:
    with locked_folder(tmp_path), pytest.raises(InUseError, match=f"process {os.getpid()} on"), locked_folder(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


@pytest.mark.usefixtures("windows")
def test_a_file_that_a_scanner_has_open_for_a_moment_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, refused = os.replace, iter([True, True])

    def shared(part: str, path: str) -> None:
        if next(refused, False):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        replace(part, path)

    monkeypatch.setattr(os, "replace", shared)
    write_text(tmp_path / "a.txt", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.usefixtures("windows")
def test_names_are_such_that_windows_can_write_them() -> None:
    references = [
        Reference("", path=Path("nul.tif")),
        *(Reference("", path=Path("a.h5"), dataset=f"/e/{x}") for x in ("x:1", "y")),
    ]
    assert [frame.name for frame in assign_names(references)] == ["_nul", "a_h5_x_1", "a_h5_y"]


@pytest.mark.usefixtures("windows")
def test_slurm_is_refused_on_windows() -> None:
    with pytest.raises(ConfigError, match="parallel=slurm: not on Windows"):
        needs_submitit("parallel=slurm")


def test_names_differ_by_more_than_the_form_of_an_accent() -> None:
    references = [Reference("", path=Path("a/\u00e4.tif")), Reference("", path=Path("b/a\u0308.tif"))]
    assert [frame.name for frame in assign_names(references)] == ["a_\u00e4", "b_a\u0308"]


def test_an_option_of_a_plug_in_that_is_missing_is_told_with_its_package() -> None:
    missing = MissingConfigException("", "hydra/sweeper/optuna", ["basic"])
    assert Loader()._message(missing) == "hydra/sweeper=optuna: no such option; pip install 'xrdpipe[optuna]'"
