"""The doctor names the orientation a frame was turned out of, and says nothing where there are no rings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from command import FAST, call
from conftest import TINY
from numpy.typing import NDArray

from xrdpipe.cli.doctor import faults
from xrdpipe.geometry.orientation import ORIENTATIONS, apply_transform, canonical, compare_orientations
from xrdpipe.geometry.poni import Poni
from xrdpipe.stages.source import Source

SQUARE = (120, 120)


@pytest.fixture(scope="module")
def powder() -> tuple[NDArray[np.uint16], Poni]:
    """A frame with the beam off the middle, in the orientation of its PONI."""
    from dataclasses import replace

    simulation = replace(TINY, shape=SQUARE, poni=(0.463, 0.49), lines=0, counts=5000.0)
    return simulation.frame(1), Poni("square.poni", simulation.poni_text())


@pytest.mark.parametrize("words", ORIENTATIONS, ids=str)
def test_a_turned_frame_is_turned_back(words: tuple[str, ...], powder: Any) -> None:
    frame, poni = powder
    raw = Source(transform=list(words)).to_raw(frame)
    verdict = compare_orientations(np.ascontiguousarray(raw), poni, [], cache=False)
    assert verdict.best == words
    assert verdict.wrong == (words != ())
    assert not compare_orientations(raw, poni, words, cache=False).wrong


def test_the_eight_orientations_are_all_different_and_every_list_is_one_of_them() -> None:
    seen = {apply_transform(np.arange(6).reshape(2, 3), words).tobytes() for words in ORIENTATIONS}
    assert len(seen) == 8
    assert canonical(["rot90", "rot90"]) == ("flipud", "fliplr")
    assert canonical(["flipud", "flipud"]) == ()


def test_frames_without_rings_raise_no_doubt(powder: Any) -> None:
    _, poni = powder
    rng = np.random.default_rng(1)
    y, x = np.mgrid[: SQUARE[0], : SQUARE[1]]
    frames = {
        "noise": rng.poisson(3, SQUARE),
        "gradient": rng.poisson(50 + 2 * x + y),
        "glass off the middle": rng.poisson(300 * np.exp(-((x - 40) ** 2 + (y - 30) ** 2) / 4000)),
        "spots": rng.poisson(2 + 5000 * (rng.random(SQUARE) > 0.995)),
        "empty": np.zeros(SQUARE, np.uint16),
        "full": np.full(SQUARE, 65535, np.uint16),
        "nothing": np.full(SQUARE, np.nan, np.float32),
    }
    for name, frame in frames.items():
        assert not compare_orientations(frame, poni, [], cache=False).wrong, name


@pytest.mark.slow
def test_a_detector_that_is_not_square_fits_some_orientations_only(powder: Any) -> None:
    text = "Detector: Pilatus100k\nDetector_config: {}\nponi_version: 2\nDistance: 0.2\nPoni1: 0.02\nPoni2: 0.03\n"
    poni = Poni("p.poni", text + "Rot1: 0\nRot2: 0\nRot3: 0\nWavelength: 1e-10\n")
    frame = np.random.default_rng(0).poisson(10, (195, 487))
    assert set(compare_orientations(frame, poni, [], cache=False).sharpness) == set(ORIENTATIONS[:4])
    assert set(compare_orientations(frame.T, poni, [], cache=False).sharpness) == set(ORIENTATIONS[4:])


@pytest.fixture
def turned_file(powder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    frame, poni = powder
    monkeypatch.chdir(tmp_path)
    Path("square.poni").write_text(poni.text)
    tifffile.imwrite("turned.tiff", np.fliplr(frame))
    return ["poni=square.poni", "turned.tiff"]


@pytest.mark.slow
def test_the_doctor_says_what_to_type_and_is_content_with_it(turned_file: list[str]) -> None:
    told = call("doctor", *turned_file)
    assert told.status == 1
    assert "say source.transform=[fliplr]" in told.out
    assert told.out.splitlines()[2].startswith("[fliplr]  ")
    number = told.out.splitlines()[2].split()[1]
    for cure in ("source.transform=[fliplr]", f"geometry.orientation={number}"):
        told = call("doctor", *turned_file, cure)
        assert (told.status, "your orientation is right" in told.out) == (0, True), told.out


def test_the_doctor_sees_an_inverted_mask(turned_file: list[str]) -> None:
    mask = np.zeros(SQUARE, np.uint8)
    mask[:3] = 1
    np.save("mask.npy", mask)
    np.save("inverted.npy", 1 - mask)
    cure = "source.transform=[fliplr]"
    assert call("doctor", *turned_file, cure, "mask.file=mask.npy").status == 0
    told = call("doctor", *turned_file, cure, "mask.file=inverted.npy")
    assert (told.status, "looks inverted" in told.out) == (1, True)


def test_a_mask_that_belongs_on_the_other_side_is_seen() -> None:
    bad = np.zeros((20, 30), np.bool_)
    bad[2, 3:9] = True
    raw = np.ones((20, 30))
    assert faults(bad, raw, bad) == []
    assert "flipud" in faults(np.flipud(bad), raw, bad)[0]
    assert "20 x 31 pixels" in faults(np.ones((20, 31), np.bool_), raw, bad)[0]


@pytest.mark.slow
def test_a_run_in_the_wrong_orientation_says_so_once_and_goes_on(turned_file: list[str]) -> None:
    Path("second.tiff").write_bytes(Path("turned.tiff").read_bytes())
    told = call(*turned_file, "second.tiff", *FAST, "mask.edge=5", "output_dir=out")
    assert told.status == 0
    assert told.err.count("source.transform=[fliplr]") == 1
    assert "source.transform=[fliplr]" in Path("out/xrdpipe.log").read_text()
    told = call(*turned_file, "source.transform=[fliplr]", *FAST, "mask.edge=5", "output_dir=right")
    assert "orientation" not in told.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("poni=square.poni", "images: missing"),
        ("turned.tiff", "poni: missing"),
        ("poni=square.poni no.tiff", "no such"),
    ],
)
def test_the_doctor_says_what_is_missing(words: str, told: str, turned_file: list[str]) -> None:
    answer = call("doctor", *words.split())
    assert (answer.status, told in answer.err) == (2, True)


@pytest.mark.slow
def test_the_ceo2_frame_needs_flipud(reference: Path) -> None:
    files = f"poni={reference}/ceo2/CeO2_Pilatus1M.poni", f"{reference}/ceo2/CeO2_Pilatus1M.tif"
    assert "say source.transform=[flipud]" in call("doctor", *files).out
