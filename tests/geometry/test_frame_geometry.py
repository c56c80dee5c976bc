"""The geometry of each frame, from its header or a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from command import FAST, P, call, results, run_record, summary_rows

from xrdpipe.io.writing import file_hash

DISTANCES = (0.5, 0.6, 0.5)


@pytest.fixture
def stage(data: Path, frames: list[Path], poni: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three frames whose headers have a distance in mm and an energy in keV, and a table with the distance in m."""
    for number, dist in enumerate(DISTANCES):
        text = f"distance = {dist * 1000}\nenergy = {60 + number}"
        image = tifffile.imread(frames[number])
        tifffile.imwrite(data / f"s_{number}.tif", image, description=text, metadata=None)
    rows = [f"s_{number}.tif,{dist}\n" for number, dist in enumerate(DISTANCES)]
    (data / "stage.csv").write_text("file,dist\n" + "".join(rows), encoding="utf-8")
    monkeypatch.chdir(data.parent)
    return data


@pytest.mark.slow
@pytest.mark.parametrize("where", ["distance / 1000", "data/stage.csv:dist"])
def test_each_frame_has_the_pattern_of_its_own_geometry(where: str, stage: Path) -> None:
    told = call(P, "data/s_*.tif", f"geometry.dist={where}", "output_dir=out", *FAST)
    assert told.status == 0, told.err
    for number, dist in enumerate(DISTANCES):
        call(P, f"data/s_{number}.tif", f"geometry.dist={dist}", f"output_dir=alone_{number}", *FAST)
        assert results(Path("out"), f"s_{number}.chi") == results(Path(f"alone_{number}"), "*.chi")


@pytest.fixture
def ponis(stage: Path) -> Path:
    """A PONI file of each frame, which its header and poni.csv name."""
    rows = ["file,poni"]
    for number, dist in enumerate(DISTANCES):
        lines = Path("data/tiny.poni").read_text().splitlines()
        changed = [f"Distance: {dist}" if line.startswith("Distance") else line for line in lines]
        (stage / f"g_{number}.poni").write_text("\n".join(changed), encoding="utf-8")
        rows.append(f"s_{number},data/g_{number}.poni")
        image = tifffile.imread(stage / f"s_{number}.tif")
        tifffile.imwrite(stage / f"s_{number}.tif", image, description=f"geometry = g_{number}.poni", metadata=None)
    Path("poni.csv").write_text("\n".join(rows), encoding="utf-8")
    return stage


@pytest.mark.slow
@pytest.mark.parametrize("where", ["poni.csv:poni", "geometry"])
def test_each_frame_may_name_a_poni_file(where: str, ponis: Path) -> None:
    told = call(P, "data/s_*.tif", f"geometry.poni={where}", "output_dir=out", *FAST)
    assert told.status == 0, told.err
    for number in range(3):
        name = f"s_{number}"
        call(f"poni=data/g_{number}.poni", f"data/{name}.tif", f"output_dir=alone_{number}", *FAST)
        same = [Path(folder, f"{name}.chi").read_text() for folder in ("out", f"alone_{number}")]
        assert same[0] == same[1].replace("# changed: {}\n", "")
    (ponis / "g_1.poni").unlink()
    told = call(P, "data/s_*.tif", f"geometry.poni={where}", "output_dir=gone", *FAST)
    assert told.status == 1
    assert "g_1.poni: no such file" in told.err


@pytest.mark.slow
@pytest.mark.parametrize("where", ["poni.csv:poni", "geometry"])
def test_a_changed_poni_file_makes_its_frame_run_again_and_no_other(where: str, ponis: Path) -> None:
    words = ("data/s_*.tif", f"geometry.poni={where}", "output_dir=out", *FAST)
    call(P, *words)
    entry = run_record(Path("out"))["images"][1]["inputs"]["geometry.poni"]
    assert entry == {"path": str((ponis / "g_1.poni").absolute()), "hash": file_hash(ponis / "g_1.poni")}
    before = results(Path("out"), "*.chi")
    assert call("replay", "out").status == 0
    (ponis / "g_1.poni").write_text((ponis / "g_1.poni").read_text().replace("Distance: 0.6", "Distance: 0.7"))
    replayed = call("replay", "out")
    assert replayed.status == 1
    assert "because the geometry.poni of s_1 has changed" in replayed.out
    told = call(P, *words, "resume=true")
    assert "2 of 3 images were done before" in told.err
    after = results(Path("out"), "*.chi")
    assert [name for name in before if before[name] != after[name]] == ["s_1.chi"]
    assert '"distance": "0.7"' in after["s_1.chi"].decode()
    (ponis / "g_2.poni").unlink()
    told = call(P, *words, "resume=true")
    assert told.status == 2  # the only frame that is left
    assert "g_2.poni: no such file" in told.err


@pytest.mark.slow
def test_an_energy_scan_and_its_replay(stage: Path) -> None:
    Path("data/tiny.poni").write_text(Path("data/tiny.poni").read_text().replace("Wavelength", "# none"))
    words = ("geometry.wavelength=1.239841984e-9 / energy", "integ.radial_range=[1,4]", *FAST)
    told = call(P, "data/s_*.tif", "output_dir=out", *words)
    assert told.status == 0, told.err
    assert '"wavelength": 2.066' in Path("out/s_0.chi").read_text()
    axes = [np.loadtxt(path)[:, 0] for path in sorted(Path("out").glob("*.chi"))]
    np.testing.assert_allclose(axes[0], axes[2][: len(axes[0])])  # the last rings of a longer wavelength are missing
    again = call("replay", "out", "output_dir=again")
    assert again.status == 0, again.err
    assert results(Path("out"), "*.chi") == results(Path("again"), "*.chi")


def test_a_frame_without_a_usable_geometry_fails_alone(stage: Path) -> None:
    image = tifffile.imread(stage / "s_1.tif")
    tifffile.imwrite(stage / "s_1.tif", image, description="distance = 0", metadata=None)
    tifffile.imwrite(stage / "s_2.tif", image, description="dist = 500", metadata=None)
    told = call(P, "data/s_*.tif", "geometry.dist=distance / 1000", "output_dir=out", *FAST)
    assert told.status == 1
    rows = {row["name"]: row for row in summary_rows(Path("out"))}
    assert [row["status"] for row in rows.values()] == ["done", "failed", "failed"]
    assert "distance is 0.0, which cannot be" in rows["s_1"]["error"]
    assert "distance: no such key; the nearest are dist" in rows["s_2"]["error"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["geometry.dist=stance"], "geometry.dist=stance: data/s_0.tif: stance: no such key; the nearest are distance"),
        (["geometry.dist=distance.real"], "geometry.dist=distance.real: distance.real is not allowed"),
        (["geometry.dist=data/stage.csv:dst"], "has no such column; did you mean 'dist'"),
        (["geometry.dist=data/none.csv:dist"], "no such file"),
        (["geometry.dist=[1]"], "an expression of header values or table.csv:column expected"),
        (["geometry.dist=distance", "output.format=nxs"], "one geometry for all frames"),
        (["geometry.dist=distance", "mask=series"], "needs one geometry for all frames"),
        (["geometry.dist=distance / 1000", "integ.radial_range=[90,99]"], "outside the detector"),
    ],
)
def test_what_cannot_be_is_refused_before_any_frame(words: list[str], reason: str, stage: Path) -> None:
    told = call(P, "data/s_*.tif", "output_dir=out", *FAST, *words)
    assert told.status == 2
    assert reason in told.err
    assert not Path("out").exists()
