"""The doctor names the orientation a frame was turned out of, and says nothing where there are no rings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from command import FAST, call
from numpy.typing import NDArray
from tiny import TINY

from xrdpipe.cli.doctor import diagnosis, faults
from xrdpipe.geometry.orientation import ORIENTATIONS, Verdict, apply_transform, canonical, compare_orientations
from xrdpipe.geometry.poni import Poni

SQUARE = (120, 120)


@pytest.fixture(scope="module")
def powder() -> tuple[NDArray[np.uint16], Poni]:
    """A frame with the beam off the middle, in the orientation of its PONI."""
    from dataclasses import replace

    simulation = replace(TINY, shape=SQUARE, poni=(0.463, 0.49), lines=0, counts=5000.0)
    return simulation.frame(1), Poni("square.poni", simulation.poni_text())


def test_the_eight_orientations_are_all_different_and_every_list_is_one_of_them() -> None:
    seen = {apply_transform(np.arange(6).reshape(2, 3), words).tobytes() for words in ORIENTATIONS}
    assert len(seen) == 8
    assert canonical(["rot90", "rot90"]) == ("flipud", "fliplr")
    assert canonical(["flipud", "flipud"]) == ()


@pytest.mark.slow
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
        verdict = compare_orientations(frame, poni, [], cache=False)
        assert not verdict.wrong, name
        assert "cannot tell your orientation from all others" in (told := diagnosis(verdict)[1]), name
        assert "in too few places" in told or "too few rings stand out" in told, name


@pytest.mark.slow
def test_a_detector_that_is_not_square_fits_some_orientations_only(powder: Any) -> None:
    text = "Detector: Pilatus100k\nDetector_config: {}\nponi_version: 2\nDistance: 0.2\nPoni1: 0.02\nPoni2: 0.03\n"
    poni = Poni("p.poni", text + "Rot1: 0\nRot2: 0\nRot3: 0\nWavelength: 1e-10\n")
    frame = np.random.default_rng(0).poisson(10, (195, 487))
    assert set(compare_orientations(frame, poni, [], cache=False).against) == set(ORIENTATIONS[:4])
    assert set(compare_orientations(frame.T, poni, [], cache=False).against) == set(ORIENTATIONS[4:])


UD, LR, BOTH = ("flipud",), ("fliplr",), ("flipud", "fliplr")


@pytest.mark.parametrize(
    ("against", "apart", "given", "wrong", "told"),
    [
        ((0, 9, 10), (0, 3, 30), UD, False, "your orientation is right (9.0 sigma against the next)"),
        ((0, 9, 10), (0, 3, 30), LR, True, "your orientation is wrong: say source.transform=[flipud] (9.0 sigma"),
        ((0, 1, 10), (0, 3, 30), BOTH, True, "source.transform=[fliplr] cannot be told from it"),
        ((0, 1, 10), (0, 3, 30), UD, False, "cannot tell your orientation from source.transform=[fliplr]: their rings"),
        ((0, 1, 10), (0, 30, 30), UD, False, "the rings that are there fit all of them"),
        ((0, 0, 10), (0, 0.5, 30), LR, False, "source.transform=[flipud] has the same rings, to within a pixel"),
        ((0, 0, 0), (0, 0.5, 0.7), LR, False, "all others have the same rings"),
        ((0, 9, 10), (0, 3, 30), ("rot90",), True, "does not fit the detector: say source.transform=[flipud]"),
        ((0, 1, 10), (0, 3, 30), ("rot90",), True, "say one of source.transform=[flipud], source.transform=[fliplr]"),
    ],
)
def test_the_last_line_says_what_is_sure_and_why_the_rest_is_not(
    against: Any, apart: Any, given: tuple[str, ...], wrong: bool, told: str
) -> None:
    words = (UD, LR, BOTH)
    verdict = Verdict(dict(zip(words, against, strict=True)), dict(zip(words, apart, strict=True)), given, 20.0, 50.0)
    assert diagnosis(verdict)[0] == wrong
    assert told in diagnosis(verdict)[1]


def test_few_counts_are_named_as_the_reason() -> None:
    verdict = Verdict({UD: 0.0, LR: 0.4}, {UD: 0.0, LR: 40.0}, UD, 2.0, 0.02)
    assert "too few rings stand out at 0.02 counts a pixel; take a longer exposure" in diagnosis(verdict)[1]


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
@pytest.mark.parametrize(
    ("poni", "image"),
    [
        ("ceo2/CeO2_Pilatus1M.poni", "ceo2/CeO2_Pilatus1M.tif"),
        ("cell/map.poni", "cell/Fe3O4C_M1_map_1_P1_E1_001.tif"),
        ("weak/KFe2As2-00838.poni", "weak/KFe2As2-00838.tif"),
    ],
)
def test_frames_of_dioptas_and_fit2d_need_flipud(poni: str, image: str, reference: Path) -> None:
    files = f"poni={reference}/{poni}", f"{reference}/{image}"
    told = call("doctor", *files)
    assert (told.status, "your orientation is wrong: say source.transform=[flipud]" in told.out) == (1, True)
    told = call("doctor", *files, "source.transform=[flipud]")
    assert (told.status, "your orientation is right" in told.out) == (0, True)
