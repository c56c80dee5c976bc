"""The orientation of a frame is decided by its rings: never wrong, and undecided only where rings cannot tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from xrdpipe.geometry.orientation import ORIENTATIONS, SAME, SURE, compare_orientations
from xrdpipe.geometry.poni import Poni
from xrdpipe.geometry.ring_evidence import significance, structure
from xrdpipe.io import files
from xrdpipe.stages.source import Source

SHAPE = (160, 200)


def poni(beam: tuple[float, float] = (60.0, 85.0), tilt: float = 0.0, **config: Any) -> Poni:
    """Pixels of 0.2 mm at 100 mm; ``beam``: the foot of the perpendicular, pixels."""
    config = {"pixel1": 2e-4, "pixel2": 2e-4, "orientation": 3, **config}
    return Poni(
        "some.poni",
        f"poni_version: 2.1\nDetector: Detector\nDetector_config: {json.dumps(config)}\nDistance: 0.1\n"
        f"Poni1: {beam[0] * 2e-4}\nPoni2: {beam[1] * 2e-4}\nRot1: {tilt}\nRot2: {-tilt / 2}\nRot3: 0.3\n",
    )


def powder(geometry: Poni, counts: float = 30.0, seed: int = 0, rings: int = 12) -> NDArray[np.float64]:
    """Poisson noise on ``rings`` lines two pixels wide, over a halo."""
    integrator = geometry.integrator()
    integrator.detector.shape = SHAPE
    angle = integrator.center_array(SHAPE, unit="2th_rad", scale=False)
    rng = np.random.default_rng(seed)
    expected = 1 + 2 * np.exp(-(((angle - angle.min()) / np.ptp(angle)) ** 2) * 4)
    for centre in rng.uniform(angle.min(), angle.max(), rings):
        expected += 2 * np.exp(-0.5 * ((angle - centre) / 0.004) ** 2)
    return rng.poisson(counts * expected).astype(float)


def raw_of(frame: NDArray[Any], words: tuple[str, ...]) -> NDArray[Any]:
    return np.ascontiguousarray(Source(transform=list(words)).to_raw(frame))


@pytest.mark.parametrize("words", ORIENTATIONS, ids=str)
def test_every_orientation_of_a_tilted_frame_that_is_not_square_is_found(words: tuple[str, ...]) -> None:
    geometry = poni(tilt=0.4)
    raw = raw_of(powder(geometry), words)
    for given in (words, ORIENTATIONS[1], ORIENTATIONS[6]):
        verdict = compare_orientations(raw, geometry, given, cache=False)
        assert verdict.likely == [words]
        assert (verdict.right, verdict.wrong) == (given == words, given != words)


@pytest.mark.slow
def test_rings_of_a_beam_off_the_detector_decide() -> None:
    geometry = poni(beam=(-40.0, 90.0))
    verdict = compare_orientations(raw_of(powder(geometry), ("rot90",)), geometry, ("rot90",), cache=False)
    assert verdict.right


@pytest.mark.slow
def test_spots_hot_pixels_gaps_and_a_beamstop_do_not_decide() -> None:
    geometry = poni()
    frame = powder(geometry, counts=100)
    rng = np.random.default_rng(3)
    rows, columns = np.indices(SHAPE)
    for row, column in rng.uniform(0, 1, (15, 2)) * SHAPE:
        frame += 1e5 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 4)
    frame[rng.random(SHAPE) < 1e-3] = 1e6
    frame[70:75], frame[:, 120:124] = -1, 0
    frame[np.hypot(rows - 62, columns - 86) < 9] = 0
    verdict = compare_orientations(raw_of(frame, ("fliplr",)), geometry, (), cache=False)
    assert verdict.wrong
    assert verdict.likely == [("fliplr",)]


def test_few_counts_leave_it_open_and_more_decide() -> None:
    geometry = poni()
    few = compare_orientations(powder(geometry, counts=0.003), geometry, (), cache=False)
    assert not few.right
    assert not few.wrong
    assert few.rings < SURE
    assert compare_orientations(powder(geometry, counts=10), geometry, (), cache=False).right


@pytest.mark.parametrize("seed", range(5))
def test_noise_under_any_halo_speaks_against_nothing(seed: int) -> None:
    geometry = poni()
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(SHAPE)
    halo = np.exp(-((rows - rng.uniform(0, 160)) ** 2 + (columns - rng.uniform(0, 200)) ** 2) / 5000)
    verdict = compare_orientations(rng.poisson(20 + 300 * halo), geometry, (), cache=False)
    assert max(verdict.against.values()) < SURE


@pytest.mark.slow
def test_what_has_the_same_rings_is_named_and_not_called_wrong() -> None:
    geometry = poni(beam=(80.0, 100.0))
    frame = powder(geometry, counts=300)
    for given in ORIENTATIONS[:4]:  # the beam is in the middle
        verdict = compare_orientations(frame, geometry, given, cache=False)
        assert verdict.right
        assert verdict.best == given
        assert set(verdict.likely) == set(ORIENTATIONS[:4])
        assert max(verdict.apart[words] for words in verdict.likely) < SAME


def test_orientations_that_do_not_fit_the_detector_are_not_compared() -> None:
    geometry = poni(max_shape=list(SHAPE))
    raw = raw_of(powder(geometry), ("rot90",))
    verdict = compare_orientations(raw, geometry, (), cache=False)
    assert set(verdict.against) == set(ORIENTATIONS[4:])
    assert verdict.likely == [("rot90",)]


def test_frames_without_a_measurement_say_nothing() -> None:
    geometry = poni()
    for frame in (np.full(SHAPE, np.nan), np.zeros(SHAPE), np.full(SHAPE, 65535, np.uint16), np.full(SHAPE, -1)):
        verdict = compare_orientations(frame, geometry, (), cache=False)
        assert not verdict.wrong
        assert not verdict.right


def test_one_block_alone_is_no_evidence() -> None:
    assert significance(np.array([1e6, 0.1, -0.1])) < 1
    assert significance(np.full(100, 0.5)) > SURE
    assert significance(np.zeros(9)) == 0


def test_structure_is_what_stands_out_in_units_of_the_noise() -> None:
    rng = np.random.default_rng(0)
    rows, _ = np.indices((200, 200))
    found = structure(rng.normal(1000 + 5 * rows, 20), 1)
    assert abs(found[20:-20, 20:-20].std() - 1) < 0.05
    assert np.abs(found[20:-20, 20:-20].mean(axis=1)).max() < 0.3


CASES = {
    "ceo2/CeO2_Pilatus1M.tif": ("ceo2/CeO2_Pilatus1M.poni", ("flipud",)),
    "cell/Fe3O4C_M1_map_1_P1_E1_001.tif": ("cell/map.poni", ("flipud",)),
    "weak/KFe2As2-00838.tif": ("weak/KFe2As2-00838.poni", ("flipud",)),
    "series/pixium_03150.tif": ("series/pixium.poni", ()),
}


@pytest.mark.slow
@pytest.mark.parametrize("image", CASES)
def test_real_frames_are_decided_with_the_right_and_with_every_wrong_orientation(image: str, reference: Path) -> None:
    name, truth = CASES[image]
    raw = files.read(files.list_frames(reference / image).references[0])[0]
    geometry = Poni.read(str(reference / name))
    for given in ORIENTATIONS:
        verdict = compare_orientations(raw, geometry, given, cache=False)
        assert verdict.likely == [truth]
        assert (verdict.right, verdict.wrong) == (given == truth, given != truth)
