"""Harmonics of peaks over the azimuth: texture, ellipticity and strain by sin² psi."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyFAI
import pytest
import tifffile
from command import call, results
from numpy.typing import NDArray

from xrdpipe.stages.pattern.fit import Peak
from xrdpipe.stages.pattern.harmonics import Sectors, describe, fit_linear, harmonics

Floats = NDArray[np.float64]
WAVELENGTH = 0.4e-10
EDGES = np.radians(np.linspace(-180, 180, 25))
SPACINGS, STRAINS = (2.0, 1.2), (-1.5e-3, 0.8e-3)  # of two rings; across and along the load axis
TEXTURE, TEXTURE_AZIMUTH, LOAD_AZIMUTH = 0.3, 20.0, 70.0


def simulated(chi: Floats, theta: Floats | float) -> tuple[Floats, Floats]:
    """Relative area and lattice spacing of a ring at azimuths (radians)."""
    area = 1 + TEXTURE * np.cos(2 * (chi - np.radians(TEXTURE_AZIMUTH)))
    sin2_psi = np.cos(theta) ** 2 * np.cos(chi - np.radians(LOAD_AZIMUTH)) ** 2
    return area, 1 + STRAINS[0] + (STRAINS[1] - STRAINS[0]) * sin2_psi


def sectors_of_known_harmonics(rng: np.random.Generator | None = None) -> Sectors:
    """A ring in 24 sectors, each the mean of fine steps, with Gaussian noise of the errors where there is ``rng``."""
    fine = EDGES[:-1, np.newaxis] + (np.arange(200) + 0.5) / 200 * np.diff(EDGES)[:, np.newaxis]
    theta = np.arcsin(WAVELENGTH * 1e10 / 2 / SPACINGS[0])
    area, spacing = (each.mean(axis=1) for each in simulated(fine, theta))
    q = 2 * np.pi / (SPACINGS[0] * spacing)
    errors = np.full(q.size, 0.01), np.where(np.arange(q.size) % 3, 2e-4, 4e-4)
    noise = (0, 0) if rng is None else (rng.normal(0, errors[0]), rng.normal(0, errors[1]))
    return Sectors(EDGES[:-1], EDGES[1:], 5 * (area + noise[0]), 5 * errors[0], q + noise[1], errors[1])


def test_harmonics_and_errors_are_those_of_weighted_least_squares_by_numpy() -> None:
    sectors = sectors_of_known_harmonics(np.random.default_rng(1))
    about = describe(sectors, 3)
    centre, width = (EDGES[1:] + EDGES[:-1]) / 2, np.diff(EDGES)
    for name in ("area", "position"):
        values, errors = getattr(sectors, name), getattr(sectors, f"{name}_error")
        columns = [np.ones_like(centre)]
        for n in (1, 2, 3):
            mean = np.sin(n * width / 2) / (n * width / 2)
            columns += [mean * np.cos(n * centre), mean * np.sin(n * centre)]
        design = np.transpose(columns) / errors[:, None]
        found, residual, *_ = np.linalg.lstsq(design, values / errors)
        chi2 = float(residual[0]) / (24 - 7)
        scatter = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * max(chi2, 1))
        terms = ["mean", "cos1", "sin1", "cos2", "sin2", "cos3", "sin3"]
        assert [about[f"{name}_{term}"] for term in terms] == pytest.approx(found.tolist(), rel=1e-9, abs=1e-12)
        assert [about[f"{name}_{term}_error"] for term in terms] == pytest.approx(scatter.tolist(), rel=1e-9)
        assert about[f"{name}_reduced_chi2"] == pytest.approx(chi2)


def test_known_texture_and_strain_come_back_exactly_without_noise() -> None:
    about = describe(sectors_of_known_harmonics(), 2, LOAD_AZIMUTH, "q_A^-1", WAVELENGTH)
    across = 1 + STRAINS[0]
    assert about["fit"] == "ok"
    assert about["texture"] == pytest.approx(TEXTURE, rel=1e-4)
    assert about["texture_azimuth"] == pytest.approx(TEXTURE_AZIMUTH, abs=1e-3)
    assert about["strain"] == pytest.approx((STRAINS[1] - STRAINS[0]) / across, rel=1e-3)
    assert about["d_perpendicular"] == pytest.approx(SPACINGS[0] * across, rel=1e-6)
    assert about["ellipticity_azimuth"] == pytest.approx(LOAD_AZIMUTH - 90, abs=0.1)  # q is smallest along the axis


@pytest.mark.parametrize("unit", ["q_A^-1", "q_nm^-1", "2th_deg", "2th_rad"])
def test_strain_is_the_same_in_every_unit_of_the_axis(unit: str) -> None:
    sectors = sectors_of_known_harmonics(np.random.default_rng(2))
    in_q = describe(sectors, 2, LOAD_AZIMUTH, "q_A^-1", WAVELENGTH)
    two_theta = 2 * np.arcsin(sectors.position * WAVELENGTH * 1e10 / 4 / np.pi)
    slope = WAVELENGTH * 1e10 / 2 / np.pi / np.cos(two_theta / 2)
    position, factor = {
        "q_A^-1": (sectors.position, 1.0),
        "q_nm^-1": (sectors.position * 10, 10.0),
        "2th_deg": (np.degrees(two_theta), np.degrees(slope)),
        "2th_rad": (two_theta, slope),
    }[unit]
    same = sectors._replace(position=position, position_error=sectors.position_error * factor)
    about = describe(same, 2, LOAD_AZIMUTH, unit, WAVELENGTH)
    for name in ("strain", "strain_error", "d_perpendicular", "d_perpendicular_error"):
        assert about[name] == pytest.approx(in_q[name], rel=1e-9)


def test_errors_of_texture_and_strain_are_the_scatter_of_repeated_noise() -> None:
    rng = np.random.default_rng(3)
    found = [describe(sectors_of_known_harmonics(rng), 2, LOAD_AZIMUTH, "q_A^-1", WAVELENGTH) for _ in range(300)]
    for name in ("texture", "texture_azimuth", "ellipticity", "ellipticity_azimuth", "strain", "d_perpendicular"):
        values = np.array([each[name] for each in found], float)
        errors = np.array([each[f"{name}_error"] for each in found], float)
        assert np.median(errors) == pytest.approx(values.std(), rel=0.15), name
    assert np.mean([float(each["strain_reduced_chi2"]) for each in found]) == pytest.approx(1, abs=0.1)


def test_errors_follow_the_scatter_where_it_is_more_than_the_errors_of_the_peaks() -> None:
    right = sectors_of_known_harmonics(np.random.default_rng(4))
    small = right._replace(area_error=right.area_error / 5, position_error=right.position_error / 5)
    assert describe(small, 2)["texture_error"] == pytest.approx(describe(right, 2)["texture_error"], rel=0.3)


def test_too_few_sectors_or_too_near_each_other_give_no_numbers_and_say_why() -> None:
    all_of_them = sectors_of_known_harmonics()
    few = Sectors(*(each[:5] for each in all_of_them))
    assert describe(few, 2) == {"sectors": 5, "fit": "peak in 5 sectors, more than 5 needed"}
    same = all_of_them._replace(first=np.zeros(24), last=np.full(24, 0.1))
    assert describe(same, 2)["fit"] == "the azimuths of the sectors do not tell the harmonics apart"
    peaks = [Peak(), Peak(fit="no peak"), Peak(3.0, 0.1, 0.1, 0.1, 5.0, 0.2)]
    assert Sectors.of([(0, 10)] * 3, peaks).area.tolist() == [5.0]
    assert fit_linear(harmonics(np.zeros(4), np.ones(4), 1), np.ones(4), np.ones(4)) is None


# ------------------------------------------------------------------------------------------------------------- in a run


@pytest.fixture
def strained(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two frames of textured, strained powder, with noise; rings of it are elliptic."""
    monkeypatch.chdir(tmp_path)
    path, shape = data / "strain.poni", (500, 480)
    lines = ["poni_version: 2", "Detector: Detector", 'Detector_config: {"pixel1": 4e-4, "pixel2": 4e-4}']
    lines += ["Distance: 0.25", "Poni1: 0.101", "Poni2: 0.095", "Rot1: 0.01", "Rot2: 0.0", "Rot3: 0.0"]
    path.write_text("\n".join([*lines, f"Wavelength: {WAVELENGTH}"]) + "\n")
    integrator = pyFAI.load(str(path))
    two_theta = integrator.center_array(shape, unit="2th_rad", scale=False)
    chi = integrator.center_array(shape, unit="chi_rad", scale=False)
    area, spacing = simulated(chi, two_theta / 2)
    counts = np.full(shape, 5.0)
    for d0 in SPACINGS:
        ring = 2 * np.arcsin(WAVELENGTH * 1e10 / 2 / (d0 * spacing))
        counts += 100 * area * np.exp(-0.5 * ((two_theta - ring) / 2e-3) ** 2)
    for number in range(2):
        noisy = np.random.default_rng(number).poisson(counts)
        tifffile.imwrite(data / f"strain_{number}.tiff", noisy.astype(np.float32))
    return tmp_path


REGIONS = "pattern.peaks.regions=[[10.7,12.3],[18.2,20.1]]"
RUN = ("poni=data/strain.poni", "plot=none", "report=false", "mask=none", "integ.error_model=poisson")
KEYS = ("integ.unit=2th_deg", "integ.npt=600", "integ.method=[no,csr,cython]", "parallel=serial", REGIONS)
STRAIN = ("pattern.peaks.shape=gaussian", "pattern.peaks.harmonics=2", f"pattern.peaks.strain_axis={LOAD_AZIMUTH}")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [("integ=sectors", "integ.number=24"), ("integ=cake", "integ.npt_azim=36")])
def test_a_simulated_frame_with_elliptic_rings_gives_its_strain_and_texture_back_within_the_errors(
    kind: tuple[str, str], strained: Path
) -> None:
    told = call(*RUN, *KEYS, *STRAIN, *kind, "data/strain_*.tiff", "output_dir=out")
    assert told.status == 0, told
    with (strained / "out" / "harmonics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["peak"]) for row in rows] == [(f"strain_{n}", p) for n in (0, 1) for p in ("1", "2")]
    across = 1 + STRAINS[0]
    for row, d0 in zip(rows, SPACINGS * 2, strict=True):
        assert row["fit"] == "ok"
        truth = {
            "strain": (STRAINS[1] - STRAINS[0]) / across,
            "d_perpendicular": d0 * across,
            "texture": TEXTURE,
            "texture_azimuth": TEXTURE_AZIMUTH,
        }
        for name, value in truth.items():
            assert float(row[name]) == pytest.approx(value, abs=4 * float(row[f"{name}_error"])), name
        assert float(row["strain_error"]) < 0.05 * truth["strain"]
        assert float(row["strain_reduced_chi2"]) < 2
        assert float(row["texture_error"]) < 0.02
    kinds = ("harmonics.csv", "harmonics/*.csv", "figures/harmonics.png")
    assert len(found := results(strained / "out", *kinds)) == 4
    jobs = ("parallel=default", "parallel.n_jobs=2", "parallel.backend=threading")
    assert call(*RUN, *KEYS, *STRAIN, *kind, *jobs, "data/strain_*.tiff", "output_dir=jobs").status == 0
    assert found == results(strained / "jobs", *kinds)
    assert call(*RUN, *KEYS, *STRAIN, *kind, "data/strain_0.tiff", "output_dir=more").status == 0
    assert call(*RUN, *KEYS, *STRAIN, *kind, "data/strain_*.tiff", "output_dir=more", "resume=true").status == 0
    assert found == results(strained / "more", *kinds)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pattern.peaks.harmonics=2"], "pattern.peaks.harmonics=2: for peaks that you choose; set regions as well"),
        ([REGIONS, "pattern.peaks.strain_axis=0"], "pattern.peaks.strain_axis=0.0: without harmonics"),
        ([REGIONS, "pattern.peaks.harmonics=1"], "pattern.peaks.harmonics=1: an order from 2 to 8 expected"),
        ([REGIONS, "pattern.peaks.harmonics=2"], "pattern.peaks.harmonics=2: needs azimuths; say integ=sectors"),
        (
            [REGIONS, "integ=sectors", "integ.unit=r_mm", "pattern.peaks.harmonics=2", "pattern.peaks.strain_axis=0"],
            "pattern.peaks.strain_axis=0: not over r_mm; over q_A^-1, q_nm^-1, 2th_deg, 2th_rad alone",
        ),
        (
            [REGIONS, "integ=sectors", "integ.unit=2th_deg", "poni=data/none.poni", *STRAIN[1:]],
            "pattern.peaks.strain_axis=70: needs a wavelength, which data/none.poni does not have",
        ),
        (
            [REGIONS, "integ=cake", "pattern.peaks.harmonics=2", "pattern.rebin.step=1", "pattern.rebin.unit=2th_deg"],
            "pattern.peaks.harmonics: a cake keeps its axis where pattern.rebin.unit is set; say integ.unit=2th_deg",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    words: list[str], said: str, poni: Path, frames: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [line for line in poni.read_text().splitlines() if not line.startswith("Wavelength")]
    poni.with_name("none.poni").write_text("\n".join(lines) + "\n")
    told = call("poni=data/tiny.poni", "data/ni_1.tiff", *words, "output_dir=out")
    assert told.status == 2, told
    assert said in told.err
    assert not (tmp_path / "out").exists()
