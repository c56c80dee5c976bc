"""Patterns of a frame in several units, in one run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command import FAST, P, call

import xrdpipe
from xrdpipe.io.formats import read_pattern

WORDS = (P, "data/ni_1.tiff", *FAST, "integ.error_model=poisson")


@pytest.fixture
def here(frames: list[Path], poni: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_unit_has_the_pattern_of_a_run_in_this_unit_alone_to_the_last_digit(here: Path) -> None:
    told = call(*WORDS, "integ=units", "integ.units=[2th_deg,r_mm]", "output_dir=all")
    assert told.status == 0, told
    for unit, suffix in (("q_A^-1", ""), ("2th_deg", "_2th_deg"), ("r_mm", "_r_mm")):
        assert call(*WORDS, f"integ.unit={unit}", f"output_dir=alone{suffix}").status == 0
        both = [Path("all", f"ni_1{suffix}.chi"), Path(f"alone{suffix}", "ni_1.chi")]
        rows = [[line for line in path.read_text().splitlines() if line[0] != "#"] for path in both]
        assert rows[0] == rows[1]
        found = read_pattern(here / "all", f"ni_1{suffix}")
        assert found is not None
        assert found.unit == unit


@pytest.mark.slow
def test_all_formats_and_a_later_load_know_the_unit_of_each_pattern(here: Path) -> None:
    made = xrdpipe.integrate(
        "data/tiny.poni",
        "data/ni_1.tiff",
        integ=("units", {"npt": 60, "units": ["2th_deg", "q_nm^-1"]}),
        output={"format": ["xy", "nxs"]},
        output_dir="out",
    )
    assert not list(here.glob("out/figures/*sectors*"))
    assert (here / "out" / "figures" / "ni_1_pattern.png").is_file()
    for loaded in (xrdpipe.load("out"), made):
        assert loaded.patterns["ni_1"].unit == "q_A^-1"
        parts = loaded.sectors["ni_1"]
        assert {name: part.unit for name, part in parts.items()} == {"2th_deg": "2th_deg", "q_nm^-1": "q_nm^-1"}
        np.testing.assert_allclose(parts["q_nm^-1"].intensity, loaded.patterns["ni_1"].intensity, rtol=1e-5)
    (here / "out" / "patterns_2th_deg.nxs").unlink()  # the text alone
    assert xrdpipe.load("out").sectors["ni_1"]["2th_deg"].unit == "2th_deg"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["integ.units=[2th]"], "integ.units=2th: unknown; did you mean"),
        (["integ.units=[]"], "integ.units=[]: a list expected"),
        (["integ.units=[q_A^-1]"], "the same unit twice, with unit=q_A^-1"),
        (["integ.radial_range=[1,2]"], "integ.radial_range=[1.0, 2.0]: is in one unit, and integ=units has several"),
        (["pattern.rebin.step=0.1"], "pattern.rebin: works in one unit, and integ=units has several"),
        (["output.format=fxye", "integ.unit=2th_deg", "integ.units=[q_A^-1]"], "output.format=fxye: is for 2theta"),
    ],
)
def test_what_cannot_be_is_refused_by_name(words: list[str], said: str, here: Path) -> None:
    told = call(*WORDS, "integ=units", *words, "output_dir=out")
    assert told.status == 2, told
    assert said in told.err
    assert not (here / "out").exists()
