"""What is done to patterns after the integration: rebinning, background under peaks, normalization, peaks."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from command import FAST, P, call, results
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from xrdpipe.io.formats import read_pattern
from xrdpipe.model.errors import FrameError
from xrdpipe.model.frame import Frame, Results
from xrdpipe.model.pattern import Pattern
from xrdpipe.numerics.integration import correlations, longest_reach
from xrdpipe.stages.integ.cake import Regroup
from xrdpipe.stages.integ.correlation import to_matrix
from xrdpipe.stages.integ.integ import Integ
from xrdpipe.stages.integ.sectors import Sectors
from xrdpipe.stages.pattern.background import PatternBackground
from xrdpipe.stages.pattern.fit import find_regions, fit_peak, profile
from xrdpipe.stages.pattern.normalize import Normalize
from xrdpipe.stages.pattern.peaks import Peaks
from xrdpipe.stages.pattern.rebin import Rebin, convert, merge_bins
from xrdpipe.stages.stage import Setup

AXIS = np.linspace(1.0, 9.0, 801)
Floats = NDArray[np.float64]


def plain_merge(old: Floats, intensity: Floats, sigma: Floats, weights: Floats, new: Floats) -> list[tuple[float, ...]]:
    """The definition, bin by bin."""
    rows = []
    for first, last in pairwise(new):
        share = np.clip(np.minimum(old[1:], last) - np.maximum(old[:-1], first), 0, None) / np.diff(old)
        share[share < 1e-3], share[share > 0.999] = 0, 1  # a thousandth of a bin goes with the rest of it
        part = share * weights
        full = part > 0
        weight = part[full].sum()
        if weight == 0:
            rows.append((np.nan, np.nan, 0.0))
            continue
        mean = (part[full] * intensity[full]).sum() / weight
        rows.append((mean, np.sqrt(((part[full] * sigma[full]) ** 2).sum()) / weight, weight))
    return rows


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(3, 60), st.floats(1.0, 7.3))
def test_a_new_bin_is_the_mean_of_its_pixels_with_their_variance_and_no_count_is_lost(
    seed: int, bins: int, width: float
) -> None:
    rng = np.random.default_rng(seed)
    old = np.linspace(0, bins, bins + 1) + rng.uniform(-3, 3)
    weights = rng.integers(0, 3, bins) * rng.uniform(0.5, 40, bins)
    intensity = np.where(weights > 0, rng.uniform(-5, 100, bins), np.nan)
    sigma = np.where(weights > 0, rng.uniform(0.1, 5, bins), np.nan)
    new = Rebin(step=width).edges(old[[0, -1]], bins)
    merged = merge_bins(old, intensity, sigma, weights, new)
    expected = plain_merge(old, intensity, sigma, weights, new)
    assert np.allclose(np.transpose(merged[:3]), expected, rtol=1e-6, equal_nan=True)
    assert np.nansum(merged.weights * merged.intensity) == pytest.approx(
        np.nansum(weights * intensity), rel=1e-6, abs=1e-6
    )


@pytest.mark.parametrize("split", ["no", "bbox", "full"])
@pytest.mark.parametrize("keys", [{}, {"correctSolidAngle": True, "polarization_factor": 0.9}])
def test_rebinning_gives_the_pattern_that_integrating_in_the_wide_bins_gives(
    setup: Setup, image: NDArray[np.float32], mask: NDArray[np.uint8], split: str, keys: dict[str, Any]
) -> None:
    frame = Frame("a", image, variance=image.clip(1), mask=mask)
    same = {"unit": "r_mm", "radial_range": [5.13, 65.13], "error_model": "poisson", "method": [split, "csr", "cython"]}
    both = [Integ(**same | {"npt": npt} | keys) for npt in (240, 60)]
    fine, coarse = (stage.prepare(setup)(frame) for stage in both)
    merged = Rebin(step=1.0, range=[5.13, 65.13]).prepare(setup)(fine).pattern
    assert merged is not None
    assert coarse.pattern is not None
    assert np.allclose(merged.radial, coarse.pattern.radial)
    assert merged.sigma is not None
    assert coarse.pattern.sigma is not None
    # Without splitting, pyFAI's first bin takes pixels below the range too. It splits pixels in float32.
    assert np.allclose(merged.intensity[1:], coarse.pattern.intensity[1:], rtol=1e-5)
    assert np.allclose(merged.sigma[1:], coarse.pattern.sigma[1:], rtol=1e-5)


@pytest.mark.parametrize("patterns", [1, 3])
@pytest.mark.parametrize("with_variance", [True, False])
def test_correlations_are_those_of_the_sums_of_the_same_pixels(patterns: int, with_variance: bool) -> None:
    rng = np.random.default_rng(7)
    pixels, npt = 400, 12
    dense = np.zeros((pixels, patterns * npt))
    for pixel in range(pixels):
        for number in rng.choice(patterns, rng.integers(1, patterns + 1), replace=False):
            first = rng.integers(0, npt)
            dense[pixel, number * npt + first : number * npt + min(first + rng.integers(1, 5), npt)] = rng.random()
    dense = dense.astype(np.float32)
    counts = (dense > 0).sum(axis=1)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint32)
    matrix = starts, np.nonzero(dense)[1].astype(np.uint16), dense[dense > 0]
    image, norm = rng.normal(100, 10, pixels).astype(np.float32), rng.uniform(0.5, 1, pixels).astype(np.float32)
    image[3], mask = np.nan, (rng.random(pixels) < 0.2).astype(np.uint8)
    variance = rng.uniform(1, 50, pixels).astype(np.float32)
    scatter = np.where((mask == 0) & np.isfinite(image), variance if with_variance else norm**2, 0).astype(float)
    reach = longest_reach(*matrix[:2], npt, 1)
    found = correlations(
        image, mask, norm, variance if with_variance else variance[:0], matrix, (reach, patterns * npt)
    )
    whole = np.einsum("pi,pj,p->ij", dense.astype(float), dense.astype(float), scatter)
    deviation = np.sqrt(np.diag(whole))
    assert len(found) == 4
    for k in range(1, 4):
        expected = np.diag(whole, k) / (deviation[:-k] * deviation[k:])
        assert np.allclose(found[k, :-k], expected, atol=1e-6)
    assert np.allclose(to_matrix(found).toarray(), np.triu(np.tril(whole / np.outer(deviation, deviation), 3), -3))


@pytest.mark.slow
@pytest.mark.parametrize("part", ["", "sector_-90_0", "cake"])
def test_neighbouring_bins_vary_together_as_their_correlation_says(part: str, setup: Setup) -> None:
    keys = {"npt": 60, "unit": "r_mm", "radial_range": [15.0, 45.0], "error_model": "poisson"}
    stage = Regroup(npt_azim=4, **keys) if part == "cake" else Sectors(sectors=[[-90, 0]], **keys)
    step, rng = stage.prepare(setup), np.random.default_rng(11)

    def integrated() -> Results:
        return step(Frame("a", rng.normal(100, 10, (120, 100)).astype(np.float32))).results

    def values(results: Results) -> Floats:
        found = results.cake if part == "cake" else {"": results.pattern, **results.sectors}[part]
        assert found is not None
        return np.atleast_2d(found.intensity)

    many = np.array([values(integrated()) for _ in range(400)])
    expected = integrated().correlations[part]().reshape(-1, *many.shape[1:])
    deviations = many - many.mean(axis=0)
    for k in (1, 2, 3):
        one, other = deviations[..., :-k], deviations[..., k:]
        found = (one * other).mean(axis=0) / np.sqrt((one**2).mean(axis=0) * (other**2).mean(axis=0))
        assert np.mean(found - expected[k, :, :-k]) == pytest.approx(0, abs=0.02)
        assert np.std(found - expected[k, :, :-k]) < 1.3 / np.sqrt(len(many))


@pytest.mark.slow
def test_errors_of_split_pixels_are_the_scatter_of_bins_and_peaks(setup: Setup) -> None:
    rings = setup.geometry.integrator.center_array((120, 100), unit="r_mm")
    counts = 20 + profile([30.0, 5.0, 400, 0.0, 0, 0], rings)[0]
    keys = {"unit": "r_mm", "radial_range": [15.0, 45.0], "error_model": "poisson"}
    fine = Integ(npt=120, **keys).prepare(setup)
    rebin, peaks = Rebin(step=0.75, range=[15.0, 45.0]).prepare(setup), Peaks(regions=[[15.0, 45.0]], shape="gaussian")
    rng = np.random.default_rng(5)
    patterns, found, merged = [], list[Any](), list[Any]()
    for _ in range(150):
        image = rng.poisson(counts).astype(np.float32)
        frame = fine(Frame("a", image, variance=image.clip(1)))
        rebinned = rebin(frame)
        for each, fitted in ((frame, found), (rebinned, merged)):
            assert each.pattern is not None
            fitted.append(peaks.fits(each.pattern, peaks.regions, each.results.correlations[""]())[0])
        patterns.append(rebinned.pattern)
    scatter = np.std([each.intensity for each in patterns], axis=0)
    sigma = np.mean([each.sigma for each in patterns], axis=0)
    assert np.median(scatter / sigma) == pytest.approx(1, abs=0.05)
    for fitted in (found, merged):
        for name in ("position", "fwhm", "area"):
            values, errors = (np.array([getattr(peak, name + end) for peak in fitted]) for end in ("", "_error"))
            assert np.std(values) / np.mean(errors) == pytest.approx(1, abs=0.2)
        assert np.mean([peak.reduced_chi2 for peak in fitted]) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("rebin", "steps"),
    [
        (Rebin(step=0.05), np.diff),
        (Rebin(step=0.02, log=True, range=[1.0, 9.0]), lambda radial: np.diff(np.log(radial))),
        (Rebin(step=0.3, unit="2th_deg"), np.diff),
    ],
)
def test_steps_are_constant_in_q_its_logarithm_or_two_theta(rebin: Rebin, steps: Any, setup: Setup) -> None:
    pattern = rebin.prepare(setup)(made()).pattern
    assert pattern is not None
    assert np.allclose(steps(pattern.radial), rebin.step)
    assert pattern.unit == (rebin.unit or "q_A^-1")


def test_two_theta_and_q_are_bragg_s_law() -> None:
    q = 4 * np.pi / 0.5 * np.sin(np.radians([5.0, 20.0]) / 2)
    assert np.allclose(convert(np.array([5.0, 20.0]), "2th_deg", "q_A^-1", 0.5e-10), q)
    assert np.allclose(convert(q * 10, "q_nm^-1", "2th_rad", 0.5e-10), np.radians([5.0, 20.0]))


@pytest.mark.parametrize(
    ("rebin", "said"),
    [
        (Rebin(step=0.001), "say a larger one"),
        (Rebin(step=0.003, log=True), "narrower than those of the pattern"),
        (Rebin(step=50.0, range=[1, 9]), "say a smaller one"),
        (Rebin(step=0.1, range=[1.0, 1e9]), "say a larger one"),
    ],
)
def test_bins_that_cannot_be_made_are_refused_with_a_way_out(rebin: Rebin, said: str, setup: Setup) -> None:
    with pytest.raises(FrameError, match=said):
        rebin.prepare(setup)(made())


def made(intensity: Floats | None = None, sigma: bool = True) -> Frame:
    """A frame with a pattern of two peaks on a slope."""
    if intensity is None:
        intensity = (
            20 + AXIS + profile([3.0, 0.1, 40, 0.3, 0, 0], AXIS)[0] + profile([6.0, 0.1, 20, 0.3, 0, 0], AXIS)[0]
        )
    pattern = Pattern(AXIS, intensity, np.sqrt(intensity) if sigma else None, "q_A^-1")
    return Frame("a", np.ones((2, 2), np.float32), results=Results(pattern, weights={"": np.ones_like(AXIS)}))


# -------------------------------------------------------------------------------------------------------- normalization


def test_integral_mean_and_transmission_divide_pattern_and_sigma(setup: Setup) -> None:
    frame = made()
    assert frame.pattern is not None
    stage = Normalize(by="integral", range=[2.503, 3.502], transmission=0.5)
    after = stage.prepare(setup)(frame)
    assert after.pattern is not None
    assert after.pattern.sigma is not None
    again = Normalize(by="integral", range=[2.503, 3.502]).divisor(after.pattern)
    assert again == pytest.approx(1 / 0.5)
    fine = np.linspace(2.503, 3.502, 100_001)
    area = np.trapezoid(np.interp(fine, AXIS, frame.pattern.intensity), fine)
    assert after.info.factors == {"transmission": 0.5, "normalization": pytest.approx(area, rel=1e-6)}
    assert np.allclose(after.pattern.sigma * area * 0.5, frame.pattern.sigma)
    mean = Normalize(by="mean").prepare(setup)(frame).pattern
    assert mean is not None
    assert mean.intensity.mean() == pytest.approx(1)


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        (Normalize(by="integral", range=[8.0, 12.0]), "the pattern does not cover it"),
        (Normalize(by="mean", range=[20.0, 21.0]), "a number > 0 is needed"),
        (Normalize(transmission="I1"), "not in the header"),
    ],
)
def test_a_frame_that_cannot_be_normalized_fails_alone(stage: Normalize, said: str, setup: Setup) -> None:
    with pytest.raises(FrameError, match=said):
        stage.prepare(setup)(made())


# ----------------------------------------------------------------------------------------------------------- background


@pytest.mark.parametrize(("points", "iterations"), [(5, 1), (20, 50), (60, 200)])
def test_bruckner_is_the_function_of_dioptas(points: int, iterations: int) -> None:
    theirs = pytest.importorskip("xypattern.util.smooth_bruckner").smooth_bruckner
    from xrdpipe.stages.pattern.bruckner import smooth_bruckner

    pattern = made().pattern
    assert pattern is not None
    values = np.random.default_rng(1).poisson(pattern.intensity).astype(float)
    expected = np.asarray(theirs(values.copy(), points, iterations))
    assert np.abs(smooth_bruckner(values, points, iterations) - expected).max() < 1e-6


@pytest.mark.parametrize("method", ["snip", "bruckner"])
def test_the_background_goes_and_the_peaks_and_sigma_stay(method: str, setup: Setup) -> None:
    if method == "snip":
        pytest.importorskip("pybaselines")
    frame = made()
    assert frame.pattern is not None
    gap = frame.pattern.intensity.copy()
    gap[300:305] = np.nan
    frame = frame.with_results(pattern=replace(frame.pattern, intensity=gap))
    stage = PatternBackground(method=method, width=0.6, iterations=500)
    after = stage.prepare(replace(setup, folder=None))(frame).pattern
    assert after is not None
    assert frame.pattern is not None
    assert after.sigma is frame.pattern.sigma
    assert np.isnan(after.intensity).sum() == 5
    flat = (np.abs(AXIS - 3) > 1) & (np.abs(AXIS - 6) > 1)
    assert np.nanmax(np.abs(after.intensity[flat])) < 1.0
    assert after.intensity[200] == pytest.approx(gap[200] - 23, rel=0.02)


# ---------------------------------------------------------------------------------------------------------------- peaks


@pytest.mark.parametrize("shape", ["gaussian", "pseudo_voigt"])
@pytest.mark.parametrize("known", [True, False])
def test_errors_of_a_peak_are_the_scatter_of_repeated_fits(shape: str, known: bool) -> None:
    x = np.linspace(2.75, 3.25, 60)
    truth = {"position": 3.02, "fwhm": 0.05, "area": 30.0}
    y = profile([*truth.values(), 0.4 if shape == "pseudo_voigt" else 0.0, 40, 3], x)[0]
    rng, sigma = np.random.default_rng(3), np.full(x.size, 4.0)
    peaks = [fit_peak(x, y + rng.normal(0, sigma), sigma if known else None, shape) for _ in range(150)]
    assert {peak.fit for peak in peaks} == {"ok"}
    for name, value in truth.items():
        found = np.array([getattr(peak, name) for peak in peaks])
        error = np.median([getattr(peak, f"{name}_error") for peak in peaks])
        assert found.mean() == pytest.approx(value, abs=5 * error / np.sqrt(150))
        assert error == pytest.approx(found.std(), rel=0.3)


def test_where_there_is_no_peak_the_fit_says_why() -> None:
    x, sigma = np.linspace(2, 3, 40), np.ones(40)
    for y in (np.full(40, 5.0), 50 + 300 * np.exp(-(((x - 3.2) / 0.2) ** 2))):
        peak = fit_peak(x, y, sigma)
        assert peak.fit != "ok"
        assert np.isnan(peak.area)
    assert "more than 6 needed" in fit_peak(x[:5], x[:5], None).fit


def test_found_regions_are_those_of_the_most_prominent_peaks_and_do_not_overlap() -> None:
    pattern = made().pattern
    assert pattern is not None
    both = find_regions(AXIS, pattern.intensity, pattern.sigma, 5)
    assert [low < place < high for (low, high), place in zip(both, (3, 6), strict=True)] == [True, True]
    ((low, high),) = find_regions(AXIS, pattern.intensity, None, 1)
    assert low < 3 < high


# ------------------------------------------------------------------------------------------------------------- in a run


@pytest.mark.slow
def test_where_no_step_is_set_the_stage_is_not_even_imported_and_else_it_is() -> None:
    lines = [
        "import sys",
        "from xrdpipe.config.loader import Loader, to_builtin",
        "from xrdpipe.pipeline.pipeline import Pipeline",
        "values = to_builtin(Loader().compose(sys.argv[1:]))",
        "Pipeline.of(values, values['stages'])",
        "print('xrdpipe.stages.pattern' in sys.modules)",
    ]
    for words, imported in (([], "False"), (["pattern.rebin.step=0.1"], "True")):
        done = subprocess.run(
            [sys.executable, "-c", "; ".join(lines), *words], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == imported


WORDS = (P, *FAST[:1], "report=false", "mask=none", "integ.npt=120", "integ.error_model=poisson")
PEAKS = (
    "pattern.rebin.step=0.1",
    "pattern.background.method=bruckner",
    "pattern.background.width=0.4",
    "pattern.normalize.by=mean",
    "pattern.peaks.number=2",
)


@pytest.fixture
def here(frames: list[Path], poni: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "peaks.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_patterns_are_the_same_bytes_as_ever_where_no_step_is_set(here: Path) -> None:
    assert call(*WORDS, "data/ni_1.tiff", "output_dir=default").status == 0
    without = "stages=[background,correction,mask,integ,plot,output]"
    assert call(*WORDS, "data/ni_1.tiff", without, "output_dir=without").status == 0
    assert results(here / "default") == results(here / "without")
    assert '"pattern"' not in (here / "default" / "ni_1.chi").read_text()


@pytest.mark.slow
def test_a_run_leaves_patterns_backgrounds_a_table_and_a_figure_the_same_for_any_number_of_jobs_and_when_resumed(
    here: Path,
) -> None:
    kinds = ("*.chi", "backgrounds/*.chi", "peaks/*.csv", "peaks.csv", "figures/*.png")
    serial = (*WORDS, *PEAKS, "parallel=serial")
    assert call(*serial, "data/ni_*.tiff", "output_dir=one").status == 0
    other = ("parallel.n_jobs=2", "parallel.backend=loky", "output_dir=two")
    assert call(*WORDS, *PEAKS, *other, "data/ni_*.tiff").status == 0
    assert call(*serial, "data/ni_[12].tiff", "output_dir=three").status == 0
    assert call(*serial, "data/ni_*.tiff", "output_dir=three", "resume=true").status == 0
    one = results(here / "one", *kinds)
    assert len(one) == 3 + 3 + 3 + 2
    assert one == results(here / "two", *kinds) == results(here / "three", *kinds)
    found = rows(here / "one")
    assert [(row["frame"], row["peak"]) for row in found] == [(f"ni_{n}", p) for n in (1, 2, 3) for p in ("1", "2")]
    assert all(row["fit"] == "ok" for row in found)
    pattern = read_pattern(here / "one", "ni_1")
    level = read_pattern(here / "one" / "backgrounds", "ni_1")
    assert pattern is not None
    assert level is not None
    assert np.array_equal(pattern.radial, level.radial)
    assert '"normalization"' not in (here / "one" / "backgrounds" / "ni_1.chi").read_text()


@pytest.mark.slow
def test_a_peak_that_moves_keeps_its_number(here: Path, data: Path) -> None:
    rings = np.hypot(*np.indices((120, 100)) - np.array([59.98, 48.8])[:, None, None])
    for number in range(4):
        image = 50 + sum(900 * np.exp(-(((rings - at - number) / 2) ** 2)) for at in (20, 40))
        tifffile.imwrite(data / f"move_{number}.tiff", image.astype(np.float32))
    regions = "pattern.peaks.number=2"
    told = call(*WORDS, "integ.unit=r_mm", regions, "data/move_*.tiff", "output_dir=out", "parallel=serial")
    assert told.status == 0, told
    whole = rows(here / "out")
    positions = {peak: [float(row["position"]) for row in whole if row["peak"] == peak] for peak in ("1", "2")}
    assert np.allclose(np.diff(positions["1"]), 1, atol=0.2)
    assert np.allclose(np.diff(positions["2"]), 1, atol=0.2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pattern.rebin.step=-1"], "pattern.rebin.step=-1.0: a number > 0 expected"),
        (["pattern.rebin.unit=2th_deg"], "pattern.rebin.unit=2th_deg: without a step; set the step as well"),
        (["pattern.rebin.setp=1"], "pattern.rebin.setp: no such key; did you mean 'pattern.rebin.step'?"),
        (["pattern.background.method=snap"], "pattern.background.method=snap: unknown; did you mean 'snip'?"),
        (["pattern.background.method=bruckner"], "pattern.background.width=None: the half width of the window"),
        (["pattern.normalize.by=max"], "pattern.normalize.by=max: unknown"),
        (["pattern.normalize.transmission=-2"], "pattern.normalize.transmission=-2: a number > 0 expected"),
        (["pattern.normalize.transmission=no.csv:T"], "transmission_table file no.csv: no such file"),
        (["pattern.peaks.regions=[[3,2]]"], "pattern.peaks.regions=[[3, 2]]: up to 200 pairs of numbers expected"),
        (["pattern.peaks.number=2", "pattern.peaks.label=T"], "pattern.peaks.label=T: no such column"),
        (["pattern.rebin.step=0.1", "pattern.rebin.unit=2th_deg", "output.format=xye"], "integ.error_model=poisson"),
    ],
)
def test_what_cannot_be_is_refused_by_name(words: list[str], said: str, here: Path) -> None:
    told = call(P, *FAST, "data/ni_1.tiff", *words, "output_dir=out")
    assert told.status == 2, told
    assert said in told.err
    assert not (here / "out").exists()


def test_a_new_unit_is_that_of_the_file_formats(here: Path) -> None:
    words = ("pattern.rebin.step=0.5", "pattern.rebin.unit=2th_deg", "output.format=fxye")
    told = call(*WORDS, "data/ni_1.tiff", *words, "output_dir=out")
    assert told.status == 0, told
    pattern = read_pattern(here / "out", "ni_1")
    assert pattern is not None
    assert np.allclose(np.diff(pattern.radial), 0.5, atol=1e-4)


@pytest.mark.slow
def test_sectors_are_treated_as_the_pattern_is(here: Path) -> None:
    words = ("integ=sectors", "integ.sectors=[[-90,90]]", "integ.error_model=poisson", *PEAKS)
    told = call(*WORDS, *words, "data/ni_1.tiff", "output_dir=out")
    assert told.status == 0, told
    whole, sector = (np.loadtxt(here / "out" / f"ni_1{part}.chi") for part in ("", "_sector_-90_90"))
    assert np.isin(sector[:, 0], whole[:, 0]).all()
    assert (here / "out" / "backgrounds" / "ni_1_sector_-90_90.chi").is_file()
    assert {row["part"] for row in rows(here / "out")} == {"", "sector_-90_90"}
