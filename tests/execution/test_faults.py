"""A sample of what `faults.py` does to runs: each fault once, the backends in turn; docs/reliability.md has all."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import cycle
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="limits on memory are those of Unix")
psutil = pytest.importorskip("psutil")

from fault_kinds import FAULTS  # noqa: E402
from fault_world import LARGE, ImpossibleError, World  # noqa: E402
from faults import Found, table, tried  # noqa: E402

TURNS = list(zip(FAULTS, cycle(("loky", "threads", "serial", "threads", "serial", "threads")), strict=False))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], World]:
    """The frames of a run, small or large, and what becomes of them where nothing happens."""

    @cache
    def made(large: bool) -> World:
        folder = tmp_path_factory.mktemp("world")
        return World.made(folder, 12, LARGE) if large else World.made(folder, 24)

    return made


@pytest.mark.slow
@pytest.mark.parametrize(("name", "backend"), TURNS)
def test_nothing_is_lost_and_nothing_wrong_whatever_happens_to_a_run(
    name: str, backend: str, world: Callable[[bool], World], tmp_path: Path
) -> None:
    if backend == "dask":
        pytest.importorskip("distributed")
    try:
        found = tried(name, backend, world(FAULTS[name].large), "sample", tmp_path)
    except ImpossibleError as error:
        pytest.skip(str(error))
    assert found.troubles == []
    assert (found.half, found.wrong, found.lost) == (0, 0, 0)


@pytest.mark.slow
def test_the_table_counts_what_was_injected() -> None:
    rows = [Found("stale", "loky", 1, "/a/data/f_031.tif: cannot be read", left=1), Found("stale", "dask", 1, left=1)]
    assert "| 0, 0, 1, 1 | 1: 2 | f_007.tif: cannot be read | 2 | 0 | 0 | 0 |" in table(rows)
