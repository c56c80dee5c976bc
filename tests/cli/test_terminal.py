"""Colour and width: what a person sees at a terminal, and what a pipe gets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from command import FAST, P, xrdpipe
from terminal import Terminal

PROGRAM = (sys.executable, "-m", "xrdpipe")
COLOUR = b"\x1b[3"


@pytest.fixture
def here(data: Path, poni: Path, frames: list[Path]) -> Path:
    return data.parent


@pytest.mark.slow
def test_a_run_fits_terminals_of_any_width_and_its_words_are_whole(here: Path) -> None:
    for columns, folder in ((80, "a"), (40, "b")):
        words = (*PROGRAM, P, "data/ni_1.tiff", "data/ni_2.tiff", f"output_dir={folder}", *FAST)
        with Terminal(*words, cwd=here, size=(24, columns)) as terminal:
            status, text = terminal.drain()
        assert status == 0
        table = text[text.rindex("image") : text.rindex("2 of 2")]
        assert all(len(line.rstrip()) <= columns for line in table.splitlines())
        assert "2 of 2 frames done, 0 failed" in text


@pytest.mark.slow
def test_colour_is_left_out_where_it_is_not_wanted(here: Path) -> None:
    words = (*PROGRAM, P, "data/ni_1.tiff", "overwrite=true", "output_dir=out", *FAST)
    with Terminal(*words, cwd=here) as terminal:
        assert terminal.drain()[0] == 0
        assert COLOUR in terminal.raw  # the bar
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        with Terminal(*words, cwd=here, env=env) as terminal:
            assert terminal.drain()[0] == 0
            assert COLOUR not in terminal.raw, env
    with Terminal(*words, cwd=here, env={"TERM": "dumb"}) as terminal:
        assert terminal.drain()[0] == 0
        assert b"\x1b" not in terminal.raw


@pytest.mark.slow
def test_a_row_is_a_line_in_a_pipe_however_long(here: Path) -> None:
    deep = here.joinpath(*(["a_long_name_of_a_folder"] * 6))
    deep.mkdir(parents=True)
    (here / "data" / "ni_1.tiff").rename(deep / "ni_1.tiff")
    path = (deep / "ni_1.tiff").relative_to(here)
    told = xrdpipe(P, path, "output_dir=out", *FAST, cwd=here)
    (row,) = (line for line in told.out.splitlines() if "ni_1.tiff" in line)
    assert row.split()[:2] == [str(path), "done"]
    assert all(line == line.rstrip() for line in told.out.splitlines())
    assert "\x1b" not in told.out + told.err
    assert all(len(line.split("\n")) == 1 for line in xrdpipe("config", "mask", cwd=here).out.splitlines())


@pytest.mark.slow
def test_explanations_are_wrapped_to_the_terminal(here: Path) -> None:
    for columns in (80, 40):
        with Terminal(*PROGRAM, "config", "mask.auto_type", cwd=here, size=(24, columns)) as terminal:
            status, text = terminal.drain()
        assert status == 0
        assert max(map(len, text.splitlines())) <= columns


@pytest.mark.slow
def test_a_run_with_failures_says_what_to_do_next(here: Path) -> None:
    told = xrdpipe(P, "data/ni_1.tiff", "data/gone.tiff", "output_dir=out", *FAST, cwd=here)
    assert "next: mend what failed (summary.csv says why); resume=true output_dir=out does it alone" in told.out
    (here / "data" / "ni_2.tiff").rename(here / "data" / "gone.tiff")
    told = xrdpipe(P, "data/ni_1.tiff", "data/gone.tiff", "output_dir=out", "resume=true", *FAST, cwd=here)
    assert told.status == 0
    assert "1 of 2 images were done before" in told.err
