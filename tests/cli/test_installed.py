"""The installed command: found, quick to answer, the same from any folder and from a wheel."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from command import FAST, LIMIT, MODULE, SCRIPT, call, results, start, xrdpipe

from xrdpipe import __version__

ROOT = Path(__file__).parents[2]
HEAVY = {"hydra", "omegaconf", "numpy", "pyFAI", "fabio", "matplotlib", "numba", "joblib", "rich", "yaml"}
both = pytest.mark.parametrize("program", [SCRIPT, MODULE], ids=["script", "module"])


@both
def test_the_version_is_ours(program: tuple[str, ...], tmp_path: Path) -> None:
    assert xrdpipe("--version", cwd=tmp_path, program=program) == (0, f"xrdpipe {__version__}\n", "")


@both
def test_with_nothing_to_do_three_lines_say_what_is_missing(program: tuple[str, ...], tmp_path: Path) -> None:
    told = xrdpipe(cwd=tmp_path, program=program)
    assert (told.status, told.out, len(told.err.splitlines())) == (2, "", 3)
    for expected in ("images", "poni=", "source=demo"):
        assert expected in told.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["poni=x", "--help"], ["-m", "a=1,2", "--help"]])
def test_help_is_a_manual_page(words: list[str]) -> None:
    told = call(*words)
    assert (told.status, told.err) == (0, "")
    for group in ("source", "background", "mask", "integ", "plot", "output", "parallel"):
        assert f"\n{group.upper()}\n" in told.out
        assert f"{group}=default" in told.out
    for key in (
        "poni",
        "images",
        "output_dir",
        "mask.alpha",
        "integ.unit",
        "plot.image.z_score",
        "overwrite",
        "dry_run",
    ):
        assert re.search(rf"^  {re.escape(key)} +\S+", told.out, re.MULTILINE)
    for word in ("EXAMPLES", "EXIT STATUS", "--multirun", "--config-dir", "mask=strict", "integ=two_theta", "130"):
        assert word in told.out
    assert max(map(len, told.out.splitlines())) <= 160


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(option: str, tmp_path: Path) -> None:
    program = (sys.executable, "-X", "importtime", "-m", "xrdpipe")
    told = xrdpipe(option, cwd=tmp_path, program=program)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.err.splitlines()}
    assert told.status == 0
    assert "xrdpipe" in imported
    assert not imported & HEAVY


@pytest.mark.slow
@both
def test_a_run_works_from_any_folder(program: tuple[str, ...], poni: Path, frames: list[Path], tmp_path: Path) -> None:
    (tmp_path / "else where").mkdir()
    told = xrdpipe(f"poni={poni}", *frames, "output_dir=out", *FAST, cwd=tmp_path / "else where", program=program)
    assert told.status == 0, told
    assert len(results(tmp_path / "else where" / "out")) == 3


@pytest.mark.slow
def test_a_failing_frame_is_exit_status_1(poni: Path, frames: list[Path], tmp_path: Path) -> None:
    told = xrdpipe(f"poni={poni}", *frames, "no.tiff", "output_dir=out", *FAST, cwd=tmp_path, program=SCRIPT)
    assert told.status == 1
    assert "no.tiff: no such file" in told.err
    assert "3 of 4 frames done, 1 failed" in told.out


@pytest.mark.slow
def test_a_run_prints_no_warnings_of_its_libraries(poni: Path, frames: list[Path], tmp_path: Path) -> None:
    told = xrdpipe(f"poni={poni}", *frames, "output_dir=out", "mask.edge=5", "integ.npt=100", cwd=tmp_path)
    assert told.status == 0
    assert all("frames/s" in line for line in told.err.splitlines()), told.err


def test_the_configuration_can_be_shown_without_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = call("mask=strict", "integ.unit=2th_deg", "--cfg", "job")
    assert (told.status, told.err) == (0, "")
    assert "alpha: 1.5" in told.out
    assert "unit: 2th_deg" in told.out
    assert call("--info", "defaults").status == 0
    assert not list(tmp_path.iterdir())


def test_names_can_be_completed_with_tab(tmp_path: Path) -> None:
    env = {"COMP_LINE": "xrdpipe mask=", "COMP_POINT": "13"}
    told = xrdpipe("-sc", "query=bash", cwd=tmp_path, env=env)
    options = ("default", "gentle", "none", "robust", "series", "sigma_clip", "strict")
    assert set(told.out.split()) == {f"mask={option}" for option in options}


def test_a_closed_pipe_is_no_crash(tmp_path: Path) -> None:
    process = start("--help", cwd=tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait(LIMIT)


@pytest.mark.slow
def test_a_wheel_holds_the_configuration_and_works(poni: Path, frames: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("pip")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, timeout=LIMIT)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as file:
        shipped = {name for name in file.namelist() if name.startswith("xrdpipe/conf/") and not name.endswith("/")}
        file.extractall(site)
    assert shipped == {f"xrdpipe/conf/{path.relative_to(ROOT / 'conf')}" for path in (ROOT / "conf").rglob("*.yaml")}
    code = "import sys, xrdpipe.cli.main; print(xrdpipe.__file__); sys.exit(xrdpipe.cli.main.main())"
    told = xrdpipe(
        f"poni={poni}",
        *frames,
        "output_dir=out",
        *FAST,
        cwd=tmp_path,
        program=(sys.executable, "-c", code),
        env={"PYTHONPATH": str(site)},
    )
    assert told.status == 0, told
    assert told.out.startswith(str(site))
    assert len(results(tmp_path / "out")) == 3
