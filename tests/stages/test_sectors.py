"""Sectors, ranges that cross 180 degrees, bins with edges of their own, and the word for nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import call, results
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny import TINY

from xrdpipe import integrate
from xrdpipe.geometry.geometry import Geometry
from xrdpipe.geometry.poni import Poni
from xrdpipe.model.errors import ConfigError, FrameError
from xrdpipe.model.frame import Frame
from xrdpipe.model.pattern import Pattern
from xrdpipe.numerics.sparse_matrix import Matrix, matrix_on_edges, wrap_azimuth
from xrdpipe.stages.integ.integ import Integ
from xrdpipe.stages.integ.methods import radial_unit, sector_pixels
from xrdpipe.stages.integ.sectors import Sectors
from xrdpipe.stages.source import Source
from xrdpipe.stages.stage import Setup

RANGES = [[-30.0, 30.0], [60.0, 120.0], [150.0, 210.0]]
FULL = {"error_model": "poisson", "polarization_factor": 0.9}


@pytest.fixture
def frame(frames: list[Path]) -> Frame:
    image = Source().read(frames[0])
    mask = (np.random.default_rng(2).random(image.shape) < 0.2).astype(np.uint8)
    return Frame("a", image, mask=mask, variance=np.maximum(image, np.float32(1)))


@pytest.fixture
def of(setup: Setup, frame: Frame) -> Callable[..., Pattern]:
    def run(**keys: Any) -> Pattern:
        pattern = Integ(**{"npt": 60} | keys).prepare(setup)(frame).pattern
        assert pattern is not None
        return pattern

    return run


def same(one: Pattern, other: Pattern) -> None:
    np.testing.assert_array_equal(one.radial, other.radial)
    np.testing.assert_array_equal(one.intensity, other.intensity)
    assert (one.sigma is None) == (other.sigma is None)
    if one.sigma is not None and other.sigma is not None:
        np.testing.assert_array_equal(one.sigma, other.sigma)


@pytest.mark.slow
@pytest.mark.parametrize(
    "keys",
    [FULL, {"edges": [1, 2, 3.5], "error_model": "azimuthal"}],
    ids=str,
)
def test_each_sector_is_what_its_azimuth_range_alone_gives(
    keys: dict[str, Any], setup: Setup, frame: Frame, of: Callable[..., Pattern]
) -> None:
    done = Sectors(npt=60, sectors=RANGES, **keys).prepare(setup)(frame)
    assert list(done.results.sectors) == ["sector_-30_30", "sector_60_120", "sector_150_210"]
    for limits, pattern in zip(RANGES, done.results.sectors.values(), strict=True):
        same(pattern, of(azimuth_range=limits, **keys))
        assert pattern.azimuth_range == tuple(limits)
    assert done.pattern is not None
    same(done.pattern, of(**keys))


def test_a_number_of_sectors_divides_the_turn_or_the_range(setup: Setup) -> None:
    assert list(Sectors(number=4).ranges.values()) == [[-180, -90], [-90, 0], [0, 90], [90, 180]]
    assert list(Sectors(number=2, azimuth_range=[10, 40]).ranges) == ["sector_10_25", "sector_25_40"]
    assert len(Sectors(number=2, sectors=[[0, 5]]).ranges) == 3
    assert len(Sectors().ranges) == 8
    assert list(Sectors(sectors=[[170, 190]]).ranges) == ["sector_170_190"]


@pytest.mark.slow
@pytest.mark.parametrize("split", ["no", "bbox", "full"])
@pytest.mark.parametrize("limits", [[150, 210], [-210, -150], [170, 190], [-10, 200], [350, 370], [-200, 200]], ids=str)
def test_a_range_that_crosses_180_has_the_pixels_of_both_sides(split: str, limits: list[float], setup: Setup) -> None:
    from xrdpipe.stages.integ.methods import integration_method

    geometry = setup.geometry
    found = sector_pixels(geometry, integration_method([split, "csr", "cython"]), limits)
    degrees = np.rad2deg(geometry.integrator.center_array(geometry.shape, unit="chi_rad", scale=False)).ravel()
    first, last = limits
    inside = (degrees - first) % 360 <= last - first
    assert found[inside].all()
    if split == "no":
        assert not found[~inside].any()
    else:  # pixels that overlap the border count too
        away = np.minimum((degrees - last) % 360, (first - degrees) % 360)
        far = geometry.integrator.center_array(geometry.shape, unit="r_mm").ravel() > 20
        assert not found[(away > 5) & ~inside & far].any()


@given(st.floats(-720, 720), st.floats(0.1, 400))
def test_a_range_is_cut_into_pieces_between_180_and_180_that_cover_it(first: float, width: float) -> None:
    pieces = wrap_azimuth([first, first + width])
    if width >= 360:
        assert pieces == [None]
        return
    assert sum(piece[1] - piece[0] for piece in pieces if piece) == pytest.approx(width, abs=1e-9)
    assert all(-180 <= piece[0] <= piece[1] <= 180 for piece in pieces if piece)


@pytest.mark.slow
def test_a_wrapped_range_with_any_method_agrees(of: Callable[..., Pattern]) -> None:
    ours, pyfai = (
        of(method=method, azimuth_range=[150, 210])
        for method in (["full", "csr", "cython"], ["full", "histogram", "cython"])
    )
    np.testing.assert_allclose(ours.intensity, pyfai.intensity, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("model", [None, "hybrid"])
def test_a_frame_with_a_sector_without_good_pixels_fails_and_says_which(
    model: str | None, setup: Setup, frame: Frame
) -> None:
    stage = Sectors(npt=20, sectors=[[-10, 10]], error_model=model)
    degrees = setup.geometry.integrator.center_array(frame.image.shape, unit="chi_deg")
    gone = replace(frame, mask=(abs(degrees) < 60).astype(np.uint8))
    with pytest.raises(FrameError, match="sector_-10_10: no good pixel"):
        stage.prepare(setup)(gone)


@pytest.mark.slow
def test_sectors_are_files_with_their_range_and_the_same_bytes_again(
    poni: Path, frames: list[Path], tmp_path: Path
) -> None:
    words = [f"poni={poni}", *frames, "integ=sectors", "integ.sectors=[[-30,30],[160,200]]"]
    words += ["integ.npt=60", "mask.edge=5", f"output_dir={tmp_path / 'out'}"]
    assert call(*words, "parallel.n_jobs=2").status == 0
    files = results(tmp_path / "out", "*.chi")
    assert len(files) == 9
    text = files["ni_2_sector_160_200.chi"].decode()
    assert "# azimuth_range: [160.0, 200.0]\n" in text
    assert (tmp_path / "out/figures/ni_1_sectors.png").stat().st_size > 5000
    (tmp_path / "out/ni_3_sector_-30_30.chi").unlink()
    assert "2 of 3 images were done before" in call(*words, "resume=true").err
    assert results(tmp_path / "out", "*.chi") == files
    told = call("replay", tmp_path / "out")
    assert (told.status, "9 of 9" in told.out) == (0, True)


@pytest.mark.slow
def test_sectors_reach_python_by_frame_and_suffix(poni: Path, frames: list[Path]) -> None:
    run = integrate(poni, frames[0], integ=("sectors", {"number": 2, "npt": 50}), mask="none", output_dir=None)
    assert list(run.sectors["ni_1"]) == ["sector_-180_0", "sector_0_180"]
    assert run.sectors["ni_1"]["sector_0_180"].intensity.shape == (50,)


def test_two_frames_that_would_write_one_file_are_refused(poni: Path, frames: list[Path], tmp_path: Path) -> None:
    other = frames[0].with_name("ni_1_sector_0_180.tiff")
    other.write_bytes(frames[0].read_bytes())
    told = call(f"poni={poni}", frames[0], other, "integ=sectors", "integ.number=2", f"output_dir={tmp_path / 'o'}")
    assert told.status == 2
    assert re.search("ni_1 and ni_1_sector_0_180 would both write ni_1_sector_0_180.chi", told.err)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"number": 0}, "1 to 360"),
        ({"sectors": [[30, -30]]}, "smaller one first"),
        ({"sectors": [0, 30]}, "pairs"),
        ({"sectors": "all"}, "pairs"),
        ({"sectors": [[0, 30], [0, 30]]}, "twice"),
    ],
    ids=str,
)
def test_what_are_no_sectors_is_refused(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Sectors(**keys)


# ---------------------------------------------------------------------------------------------------------- own edges


@pytest.mark.slow
@pytest.mark.parametrize(("split", "unit"), [("no", "q_A^-1"), ("bbox", "2th_deg"), ("full", "q_A^-1")])
def test_uniform_edges_give_the_bins_of_pyfai_but_its_outer_ones(
    split: str, unit: str, of: Callable[..., Pattern]
) -> None:
    # Into the first and the last bin of a radial_range pyFAI puts more than belongs there.
    method = [split, "csr", "cython"]
    limits = {"q_A^-1": [0.5, 5.0], "2th_deg": [1.0, 7.0]}[unit]
    pyfai = of(method=method, unit=unit, radial_range=limits, npt=40, **FULL)
    ours = of(method=method, unit=unit, edges=np.linspace(*limits, 41).tolist(), **FULL)
    np.testing.assert_allclose(ours.radial, pyfai.radial, rtol=1e-6)
    assert ours.sigma is not None
    assert pyfai.sigma is not None
    for one, other in ((ours.intensity, pyfai.intensity), (ours.sigma, pyfai.sigma)):
        np.testing.assert_allclose(one[1:-1], other[1:-1], rtol=2e-4)


@pytest.mark.slow
def test_a_bin_holds_the_pixels_between_its_edges_and_no_others(
    setup: Setup, frame: Frame, of: Callable[..., Pattern]
) -> None:
    edges = np.array([0.5, 0.6, 1.5, 3.0, 3.01])
    ours = of(method=["no", "csr", "cython"], edges=edges.tolist())
    q = setup.geometry.integrator.center_array(frame.image.shape, unit="q_A^-1")
    good = (frame.mask == 0) & (q >= 0.5) & (q <= 3.01)
    bins = np.digitize(q[good], edges) - 1
    expected = np.bincount(bins, frame.image[good]) / np.bincount(bins)
    np.testing.assert_allclose(ours.intensity, expected, rtol=1e-5)


@pytest.mark.slow
@settings(max_examples=5)
@given(st.lists(st.floats(0.2, 6), min_size=2, max_size=8, unique=True))
def test_bins_that_are_joined_hold_what_both_held(numbers: list[float]) -> None:
    geometry = Geometry(Poni("tiny.poni", TINY.poni_text()), TINY.shape)
    edges = np.sort(np.array(numbers))
    integrator, unit = geometry.integrator, radial_unit("q_A^-1")
    for split in ("no", "bbox", "full"):
        fine = matrix_on_edges(integrator, geometry.shape, unit, split, edges)
        coarse = matrix_on_edges(integrator, geometry.shape, unit, split, edges[[0, -1]])
        np.testing.assert_allclose(per_pixel(fine), per_pixel(coarse), atol=1e-5)
        assert per_pixel(fine).max(initial=0) <= 1 + 1e-5


def per_pixel(matrix: Matrix) -> NDArray[np.float64]:
    """How much of each pixel is in any bin."""
    return np.diff(np.concatenate([[0.0], np.cumsum(matrix.coefs, dtype=float)])[matrix.starts])


@pytest.mark.slow
def test_a_file_of_edges_does_what_the_list_does_and_is_an_input(
    poni: Path, frames: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    edges = [0.5, 1, 2, 2.9, 3.0, 3.1, 3.2, 4]
    Path("edges.txt").write_text("\n".join(map(str, edges)))
    usual = [f"poni={poni}", frames[0], "plot=none", "mask.edge=5"]
    assert call(*usual, f"integ.edges={edges}".replace(" ", ""), "output_dir=list").status == 0
    assert call(*usual, "integ.edges=edges.txt", "output_dir=file").status == 0
    one, two = (np.loadtxt(Path(folder, "ni_1.chi")) for folder in ("list", "file"))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(one[:, 0], np.convolve(edges, [0.5, 0.5], "valid"), rtol=1e-6)
    assert "# edges: edges.txt xxh128:" in Path("file/ni_1.chi").read_text()
    Path("edges.txt").write_text("1 2 3")  # another content is another configuration
    assert "edges" in (told := call(*usual, "integ.edges=edges.txt", "output_dir=file")).err
    assert told.status == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("edges=[3,2,1]", "ascending"),
        ("edges=[3]", "ascending"),
        ("edges=nowhere.txt", "no such file"),
        ("edges=words.txt", "not a file of numbers"),
        ("edges=[200,300]", "outside the detector"),
        ("edges=[1,2] integ.radial_range=[1,2]", "choose one"),
        ("edges=[1,2] integ.method=numpy", "sparse"),
        ("edges=[1,2] integ.error_model=hybrid", "hybrid"),
    ],
)
def test_edges_that_cannot_be_are_refused(
    key: str, told: str, poni: Path, frames: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("words.txt").write_text("once upon a time")
    answer = call(f"poni={poni}", frames[0], *f"integ.{key}".split(), "output_dir=out")
    assert (answer.status, told in answer.err, Path("out").exists()) == (2, True, False)


# ---------------------------------------------------------------------------------------------------- units and empty


@pytest.mark.slow
def test_radial_units_of_pyfai_give_a_pattern_with_their_words(setup: Setup, frame: Frame) -> None:
    from pyFAI.units import RADIAL_UNITS

    for name in ("d_A", "d*2_nm^-2", "log(1+q.nm)_None", "qx_nm^-1", "exit_angle_vert_deg"):
        unit = RADIAL_UNITS[name]
        pattern = Integ(npt=30, unit=name).prepare(setup)(frame).pattern
        assert pattern is not None
        assert (pattern.unit, pattern.label) == (name, unit.label)
        assert np.isfinite(pattern.radial).all()
        assert np.isfinite(pattern.intensity).any()


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["log10(q.m)_None", "arcsinh(q.A)_None", "d*2_A^-2"])
def test_units_with_brackets_go_through_the_command_line(
    unit: str, poni: Path, frames: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    told = call(f"poni={poni}", frames[0], f"integ.unit={unit}", "integ.npt=50", f"output_dir={out}")
    assert told.status == 0, told.err
    header = [line for line in (out / "ni_1.chi").read_text().splitlines() if line.startswith("#")]
    assert header[-1].split() == ["#", unit, "intensity"]


@pytest.mark.slow
def test_a_number_for_empty_bins_gives_them_rows(of: Callable[..., Pattern]) -> None:
    keys: dict[str, Any] = {"radial_range": [0, 8], "error_model": "poisson"}
    usual, filled = of(**keys), of(**keys, empty=-1)
    none = np.isnan(usual.intensity)
    assert none.any()
    np.testing.assert_array_equal(filled.intensity, np.where(none, -1, usual.intensity))
    assert filled.sigma is not None
    assert np.isnan(filled.sigma[none]).all()
    assert filled.quality["empty_bins"] == none.sum()
