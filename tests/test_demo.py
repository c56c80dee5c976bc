"""The simulation is what other tests believe, so here it is held against pyFAI, Poisson and the textbook."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from xrdpipe.demo import Simulation, write_demo

# A quarter of a panel far enough away to resolve 111 to 222, without defects where a test does not want them.
SMALL = Simulation(shape=(256, 256), pixel=(400e-6, 400e-6), zingers=1e-3, lines=3)
GEOMETRIES = {
    "centred": {},
    "tilted": {"rot": (0.4, -0.3, 0.2)},
    "oblong pixels": {"shape": (128, 512), "pixel": (800e-6, 200e-6)},
    "beam off the detector": {"poni": (-0.2, 1.3)},
    "low energy, back to 2theta > 90 degrees": {"rot": (1.5, 0.0, 0.0), "wavelength": 1e-10, "fwhm": 0.2},
}


def integrate(simulation: Simulation, image: NDArray[np.generic], npt: int = 400) -> tuple[NDArray[np.float64], ...]:
    pattern = simulation.integrator().integrate1d(
        image,
        npt,
        unit="q_A^-1",
        method=("full", "csr", "cython"),
        polarization_factor=simulation.polarization,
        correctSolidAngle=True,
    )
    full = pattern.count > 0
    return pattern.radial[full], pattern.intensity[full], pattern.count[full]


def union(masks: dict[str, NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return np.logical_or.reduce(list(masks.values()))


@pytest.fixture(scope="module")
def demo_folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return [tmp_path_factory.mktemp("demo") for _ in range(2)]


def test_the_same_seed_writes_the_same_bytes(demo_folders: list[Path]) -> None:
    for folder in demo_folders:
        demo = write_demo(folder, frames=2, seed=5)
        assert [path.name for path in demo.images] == ["ni_300K.tiff", "ni_800K.tiff"]
    first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in demo_folders)
    assert set(first) == {"ni_300K.tiff", "ni_800K.tiff", "air.tiff", "geometry.poni"}  # no temporary file stayed
    assert first == second


def test_the_files_hold_what_the_simulation_of_that_seed_gives(tmp_path: Path) -> None:
    fabio = pytest.importorskip("fabio")
    demo = write_demo(tmp_path / "new" / "folder", frames=1, seed=7)
    with fabio.open(demo.images[0]) as file:
        assert file.data.dtype == np.uint16
        np.testing.assert_array_equal(file.data, Simulation(seed=7).frame(0))
    assert demo.poni.read_text() == Simulation().poni_text()


@pytest.mark.parametrize("frames", [0, 502])
def test_an_impossible_number_of_frames_is_refused_before_anything_is_written(tmp_path: Path, frames: int) -> None:
    with pytest.raises(ValueError, match=f"frames={frames}"):
        write_demo(tmp_path / "demo", frames=frames)
    assert not (tmp_path / "demo").exists()


def test_a_file_that_cannot_be_finished_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "air.tiff").mkdir()  # in the way of the second file
    with pytest.raises(OSError, match=r"air\.tiff"):
        write_demo(tmp_path, frames=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["air.tiff", "geometry.poni"]


def test_seed_and_number_of_the_frame_decide_its_noise() -> None:
    np.testing.assert_array_equal(SMALL.frame(3), replace(SMALL).frame(3))
    others = [SMALL.frame(4), replace(SMALL, seed=1).frame(3), SMALL.air_frame(3)]
    assert all((SMALL.frame(3) != other).mean() > 0.5 for other in others)


@pytest.mark.parametrize("change", GEOMETRIES.values(), ids=GEOMETRIES.keys())
def test_pyfai_reads_the_poni_as_the_geometry_that_was_simulated(tmp_path: Path, change: dict[str, object]) -> None:
    import pyFAI

    simulation = replace(SMALL, **change)
    path = tmp_path / "geometry.poni"
    path.write_text(simulation.poni_text())
    read, meant = pyFAI.load(str(path)), simulation.integrator()
    assert read.detector.shape == simulation.shape
    assert read.wavelength == simulation.wavelength
    np.testing.assert_array_equal(read.array_from_unit(unit="q_A^-1"), meant.array_from_unit(unit="q_A^-1"))


@pytest.mark.parametrize("change", GEOMETRIES.values(), ids=GEOMETRIES.keys())
def test_integrating_a_frame_without_noise_returns_the_pattern(change: dict[str, object]) -> None:
    simulation = replace(SMALL, fwhm=0.3, air=0.0, **change) if "fwhm" not in change else replace(SMALL, air=0.0, **change)
    q, intensity, count = integrate(simulation, simulation.expected(), npt=200)
    inner = (count > 0.5 * np.median(count)) & (q > q[2]) & (q < q[-3])
    truth = simulation.pattern(q)
    print(np.abs(intensity / truth - 1)[inner].max(), inner.mean(), np.median(np.abs(intensity / truth - 1)))


if __name__ == "__main__":
    pass
