"""The simulation is what other tests believe, so it is held against pyFAI, Poisson's law and the textbook here."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pyFAI
import pytest
from numpy.typing import NDArray

from xrdpipe.stages import source_demo
from xrdpipe.stages.simulation import Simulation
from xrdpipe.stages.source_demo import DemoFiles

# A fifth of a panel, far enough away to tell 111 from 200.
SMALL = Simulation(shape=(256, 256), pixel=(400e-6, 400e-6), zingers=1e-3, lines=3)
GEOMETRIES: dict[str, dict[str, Any]] = {
    "centred": {},
    "tilted": {"rot": (0.4, -0.3, 0.2)},
    "oblong pixels": {"shape": (128, 512), "pixel": (800e-6, 200e-6)},
    "beam off the detector": {"poni": (-0.2, 1.3)},
    "on both sides of 90 degrees": {"rot": (1.5, 0.0, 0.0), "wavelength": 1e-10},
}
every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())


def integrate(simulation: Simulation, image: NDArray[Any], npt: int = 300) -> tuple[NDArray[Any], NDArray[Any]]:
    """q (1/angstrom) and intensity with all corrections, without the bins at both ends, which few pixels fill."""
    pattern = simulation.integrator().integrate1d(
        image,
        npt,
        unit="q_A^-1",
        method=("full", "csr", "cython"),
        polarization_factor=simulation.polarization,
        correctSolidAngle=True,
    )
    return pattern.radial[4:-6], pattern.intensity[4:-6]


def bad_pixels(simulation: Simulation, number: int = 0) -> NDArray[np.bool_]:
    bad: NDArray[np.bool_] = np.any(list(simulation.truth(number).values()), axis=0)
    return bad


@pytest.fixture
def write_small(monkeypatch: pytest.MonkeyPatch) -> partial[DemoFiles]:
    """`write_demo` with a small detector."""
    monkeypatch.setattr(source_demo, "Simulation", partial(Simulation, shape=SMALL.shape, pixel=SMALL.pixel))
    return partial(source_demo.write_demo, frames=3)


def test_the_same_seed_writes_the_same_bytes(write_small: partial[DemoFiles], tmp_path: Path) -> None:
    names = {"ni_300K.tiff", "ni_550K.tiff", "ni_800K.tiff", "air.tiff", "geometry.poni"}
    folders = [tmp_path / "a", tmp_path / "not" / "yet" / "there"]
    for folder in folders:
        write_small(folder, seed=5)
        assert {path.name for path in folder.iterdir()} == names  # and no temporary file
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_the_files_hold_what_the_simulation_of_that_seed_gives(write_small: partial[DemoFiles], tmp_path: Path) -> None:
    files = write_small(tmp_path, seed=7)
    simulation = Simulation(shape=SMALL.shape, pixel=SMALL.pixel, seed=7)
    assert [path.name for path in files.images] == ["ni_300K.tiff", "ni_550K.tiff", "ni_800K.tiff"]
    frames = [simulation.frame(0, 300), simulation.frame(1, 550), simulation.frame(2, 800), simulation.air_frame()]
    for path, image in zip([*files.images, files.air], frames, strict=True):
        with fabio.open(path) as file:
            assert file.data.dtype == np.uint16
            np.testing.assert_array_equal(file.data, image)
    assert files.poni.read_text(encoding="utf-8") == simulation.poni_text()


@pytest.mark.parametrize("frames", [0, 502])
def test_an_impossible_number_of_frames_is_refused_before_anything_is_written(tmp_path: Path, frames: int) -> None:
    with pytest.raises(ValueError, match=f"frames={frames}"):
        source_demo.write_demo(tmp_path / "demo", frames=frames)
    assert not (tmp_path / "demo").exists()


def test_a_file_that_cannot_be_finished_leaves_nothing(write_small: partial[DemoFiles], tmp_path: Path) -> None:
    (tmp_path / "air.tiff").mkdir()  # in the way of the second file
    with pytest.raises(OSError, match="air"):
        write_small(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"air.tiff", "geometry.poni"}


@pytest.mark.slow
def test_seed_and_number_of_a_frame_decide_its_noise() -> None:
    frame = SMALL.frame(3)
    np.testing.assert_array_equal(replace(SMALL).frame(3), frame)
    for other in (SMALL.frame(4), replace(SMALL, seed=1).frame(3), replace(SMALL, seed=3).frame(0)):
        assert np.mean(frame != other) > 0.5


@every_geometry
def test_pyfai_reads_the_poni_as_the_simulated_geometry(geometry: dict[str, Any], tmp_path: Path) -> None:
    simulation = replace(SMALL, **geometry)
    (tmp_path / "geometry.poni").write_text(simulation.poni_text(), encoding="utf-8")
    read = pyFAI.load(str(tmp_path / "geometry.poni"))
    assert read.detector.shape == simulation.shape
    assert read.wavelength == simulation.wavelength
    np.testing.assert_array_equal(
        read.array_from_unit(unit="q_A^-1"), simulation.integrator().array_from_unit(unit="q_A^-1")
    )


@every_geometry
def test_integrating_a_frame_without_noise_returns_the_pattern(geometry: dict[str, Any]) -> None:
    # Peaks so wide that neither a bin nor a pixel blurs them.
    simulation = replace(SMALL, fwhm=0.8, air=0.0, **geometry)
    q, intensity = integrate(simulation, simulation.expected())
    np.testing.assert_allclose(intensity, simulation.pattern(q), rtol=0.01)


@pytest.mark.parametrize(("temperature", "lattice"), [(300, 3.5238), (800, 3.5238 * 1.0075)])
def test_peaks_are_where_fcc_nickel_has_them(temperature: float, lattice: float) -> None:
    q, intensity = integrate(SMALL, SMALL.expected(temperature))
    for hkl, multiplicity in {(1, 1, 1): 8, (2, 0, 0): 6, (2, 2, 0): 12, (3, 1, 1): 24}.items():
        position = 2 * np.pi * np.linalg.norm(hkl) / lattice
        near = np.flatnonzero(abs(q - position) < 0.2)
        assert q[near[intensity[near].argmax()]] == pytest.approx(position, abs=q[1] - q[0])
        # The ring keeps its intensity, whatever pixels and bins do to its width.
        assert intensity[near].mean() == pytest.approx(
            (SMALL.pattern(q[near], temperature) + SMALL.air_pattern(q[near])).mean(), rel=0.01
        )
        listed = dict(zip(*SMALL.reflections(7, temperature), strict=True))
        assert listed[min(listed, key=lambda centre: abs(centre - position))] == multiplicity


def test_forbidden_reflections_are_absent_and_coinciding_ones_add_up() -> None:
    q, multiplicity = SMALL.reflections(10.0)
    squares = np.rint((q * SMALL.lattice / (2 * np.pi)) ** 2).astype(int)
    assert dict(zip(squares.tolist(), multiplicity.tolist(), strict=True)) == {
        3: 8, 4: 6, 8: 12, 11: 24, 12: 8, 16: 6, 19: 24, 20: 24, 24: 24, 27: 24 + 8
    }  # fmt: skip


def test_far_out_the_crystal_averages_to_independent_atoms() -> None:
    # Without thermal motion all of f^2 is in the peaks: a check of Lorentz factor, multiplicity and area.
    f_111, f_far = 20.54, 4.843  # International Tables C, at 3.088 and 20 1/angstrom
    area_111 = f_111**2 * 8 * 2 * np.pi**2 / (3.5238**3 / 4 * 3.088**2)
    top_111 = area_111 / 0.0859 * (0.3 * 0.6366 + 0.7 * 0.9394) + 28 - f_111**2 / 28  # electron units
    far = replace(SMALL, b_iso=0.0).pattern(np.linspace(18, 22, 4001)).mean()
    assert far / SMALL.counts == pytest.approx((f_far**2 + 28 - f_far**2 / 28) / top_111, rel=0.03)


def test_the_pattern_does_not_depend_on_which_q_are_asked_for() -> None:
    q = np.linspace(0.1, 25, 2000)
    np.testing.assert_allclose(SMALL.pattern(q[q < 2]), SMALL.pattern(q)[q < 2], rtol=1e-3)
    assert SMALL.pattern(q[100]) == pytest.approx(SMALL.pattern(q)[100], rel=1e-3)


@pytest.mark.parametrize("counts", [300.0, 30_000.0])
def test_the_strongest_ring_has_the_chosen_counts(counts: float) -> None:
    simulation = replace(SMALL, counts=counts, air=0.0)
    assert simulation.pattern(np.linspace(0, 10, 5001)).max() == pytest.approx(counts, rel=0.01)
    assert simulation.expected().max() == pytest.approx(counts, rel=0.05)  # but for solid angle and pixel size


@pytest.mark.parametrize("counts", [200.0, 20_000.0])
def test_noise_has_the_variance_of_its_mean(counts: float) -> None:
    simulation = replace(SMALL, counts=counts, dark=50.0).clean()
    expected = simulation.expected()
    z = (simulation.frame() - expected) / np.sqrt(expected)
    assert z.mean() == pytest.approx(0, abs=5 / np.sqrt(z.size))
    assert z.var() == pytest.approx(1, abs=5 * np.sqrt(2 / z.size))


def test_frame_air_and_dark_have_noise_of_their_own() -> None:
    simulation = replace(SMALL, counts=0.0, dark=1000.0).clean()
    frames = [simulation.frame(), simulation.air_frame(), simulation.dark_frame()]
    correlation = np.corrcoef([frame.ravel() for frame in frames])
    np.testing.assert_allclose(correlation, np.eye(3), atol=0.02)


def test_the_truth_marks_what_differs_from_a_clean_frame() -> None:
    differs = SMALL.frame(2) != SMALL.clean().frame(2)
    bad = bad_pixels(SMALL, 2)
    assert not np.any(differs & ~bad)
    assert differs[bad].mean() > 0.95  # a shadow may by chance hold as much as there would have been
    assert not bad_pixels(SMALL.clean()).any()


def test_every_kind_of_defect_looks_like_itself() -> None:
    simulation = replace(SMALL, dark=100.0, air=0.2, dead=5e-3, hot=5e-3)
    frame, clean, truth = simulation.frame(), simulation.clean().frame(), simulation.truth()
    kinds = sum(mask.astype(int) for mask in truth.values())
    alone = {kind: mask & (kinds == 1) for kind, mask in truth.items()}
    assert all(mask.any() for mask in alone.values())
    assert not frame[truth["dead"] | truth["line"]].any()
    assert np.all(frame[alone["hot"]] > clean[alone["hot"]].astype(int) + 1000)
    assert np.all(frame[alone["zinger"]] > clean[alone["zinger"]])
    shadow = frame[alone["beamstop"]]
    assert 100 < shadow.mean() < 0.2 * clean[alone["beamstop"]].mean()
    assert truth["line"].sum(axis=0).max() == 128  # half a column


def test_the_beamstop_hides_the_beam_and_its_arm_reaches_the_first_row() -> None:
    shadow = replace(SMALL, rot=(0.0, 0.0, 0.0), poni=(0.5, 0.5)).truth()["beamstop"]
    slow, fast = np.nonzero(shadow)
    assert shadow[128, 128]
    assert slow.min() == 0
    assert slow.max() - 127.5 == pytest.approx(SMALL.beamstop / SMALL.pixel[0], abs=1)
    assert fast.mean() == pytest.approx(127.5, abs=0.1)


def test_only_zingers_change_from_frame_to_frame() -> None:
    first, second = SMALL.truth(0), SMALL.truth(1)
    changed = {kind for kind in first if not np.array_equal(first[kind], second[kind])}
    assert changed == {"zinger"}
    good = ~bad_pixels(replace(SMALL, zingers=0.0))
    assert SMALL.air_frame()[good].max() < 2 * SMALL.counts * SMALL.air  # none in the air frame


def test_subtracting_the_air_leaves_the_pattern_of_the_sample() -> None:
    simulation = replace(SMALL, fwhm=0.8, air=0.3, dark=200.0).clean()
    q, intensity = integrate(simulation, simulation.frame().astype(np.float32) - simulation.air_frame())
    # 6000 counts of air at small q leave their noise where few pixels make a bin.
    np.testing.assert_allclose(intensity, simulation.pattern(q), rtol=0.02, atol=60)


def test_counts_saturate_and_do_not_wrap() -> None:
    assert replace(SMALL, counts=1e6).clean().frame().max() == 65535
