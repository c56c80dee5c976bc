"""PONI files of every version, what is refused of them, and the rings made from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyFAI
import pytest
from command import call
from pyFAI.detectors import detector_factory
from pyFAI.io.ponifile import PoniFile

from xrdpipe.geometry.calibration import Calibration
from xrdpipe.geometry.geometry import Geometry, shared_geometry
from xrdpipe.geometry.poni import Poni, fits
from xrdpipe.model.errors import ConfigError

REST = "Distance: 0.2\nPoni1: 0.06\nPoni2: 0.05\nRot1: 0.01\nRot2: -0.02\nRot3: 0.0\nWavelength: 1e-11\n"
V1 = "# Calibration by hand\nPixelSize1: 0.001\nPixelSize2: 0.002\n" + REST
V2 = (
    'poni_version: 2\nDetector: Detector\nDetector_config: {"pixel1": 0.001, "pixel2": 0.002, "max_shape": null}\n'
    + REST
)
V21 = V2.replace("poni_version: 2\n", "poni_version: 2.1\n").replace("null}", 'null, "orientation": 3}')
V3 = V21.replace("poni_version: 2.1\n", "poni_version: 3\n") + "Parallax: False\n"
VERSIONS = {"1": V1, "2": V2, "2.1": V21, **({"3": V3} if pyFAI.version_info >= (2025, 12) else {})}


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def run(text: str | bytes) -> Poni:
        path = tmp_path / "g.poni"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return Poni.read(str(path))

    return run


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_of_poni_file_gives_the_geometry_it_says(version: str, read: Any) -> None:
    ai = Geometry(read(VERSIONS[version]), (120, 100)).integrator
    assert (ai.dist, ai.poni1, ai.poni2, ai.rot1, ai.rot2, ai.rot3) == (0.2, 0.06, 0.05, 0.01, -0.02, 0.0)
    assert (ai.pixel1, ai.pixel2, ai.wavelength) == (0.001, 0.002, 1e-11)
    assert ai.detector.shape == (120, 100)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_poni_file_reads_as_pyfai_reads_it(version: str, read: Any) -> None:
    poni = read(VERSIONS[version])
    theirs = PoniFile(poni.path)
    ai = poni.integrator()
    assert (ai.dist, ai.poni1, ai.rot2, ai.wavelength) == (theirs.dist, theirs.poni1, theirs.rot2, theirs.wavelength)
    assert (ai.pixel1, ai.pixel2) == (theirs.detector.pixel1, theirs.detector.pixel2)
    assert ai.detector.orientation == theirs.detector.orientation


def test_of_several_geometries_in_a_file_the_last_one_counts_as_in_pyfai(read: Any) -> None:
    assert read(V1 + "# later\nDistance: 0.3\n").integrator().dist == 0.3


def test_spaces_line_ends_and_case_do_not_matter(read: Any) -> None:
    text = V1.replace("\n", "\r\n").replace("Distance:", "  distance  :  ")
    assert Geometry(read(text), (120, 100)).integrator.dist == 0.2


@pytest.mark.slow
def test_a_poni_without_wavelength_is_read(read: Any) -> None:
    for line in ("", "Wavelength: None\n"):
        poni = read(V2.replace("Wavelength: 1e-11\n", line))
        assert poni.wavelength is None
        assert poni.integrator().wavelength is None


def test_angles_that_are_missing_are_zero_or_refused_but_never_a_crash(read: Any) -> None:
    text = "".join(line for line in V2.splitlines(keepends=True) if not line.startswith("Rot"))
    try:
        ai = Geometry(read(text), (120, 100)).integrator
    except ConfigError:
        return
    assert (ai.rot1, ai.rot2, ai.rot3) == (0, 0, 0)
    assert np.isfinite(ai.qArray((120, 100))).all()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the file is empty"),
        (" \n\n", "the file is empty"),
        ("lorem ipsum: dolor", "not a PONI file, distance, poni1, poni2 missing"),
        (V1.replace("Poni2: 0.05\n", ""), "poni2 missing"),
        (b"II*\0\x08\xff\xfe", "not a text file"),
        (V1.replace("0.2", "zwei"), "distance is 'zwei', a number is expected"),
        (V1.replace("0.2", "nan"), "distance is nan"),
        (V1.replace("0.2", "-0.2"), "distance is -0.2"),
        (V1.replace("1e-11", "0"), "wavelength is 0"),
        (V1.replace("0.06", "inf"), "poni1 is inf"),
        (V2.replace("poni_version: 2", "poni_version: two"), "poni_version"),
        (V2.replace("null}", "null"), "detector_config cannot be read"),
        (V2.replace('{"pixel1": 0.001, "pixel2": 0.002, "max_shape": null}', "[1, 2]"), "no JSON object"),
        (V2.replace("Detector: Detector\n", ""), "version 2 needs Detector"),
        ("poni_version: 2\nDetector: Detector\n" + REST, "version 2 needs Detector"),
        ("x" * 1_000_001, "this is no PONI file"),
    ],
)
def test_what_is_no_poni_file_is_refused_with_a_reason(text: Any, reason: str, read: Any) -> None:
    with pytest.raises(ConfigError, match=reason) as error:
        read(text)
    assert "g.poni" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (V2.replace("Detector: Detector", "Detector: Pilatsu1M"), "no detector is called 'Pilatsu1M'; did you mean"),
        (V2.replace('"pixel1"', '"pixle1"'), "poni="),
        (V2.replace("poni_version: 2\n", "poni_version: 99\n"), "99"),
        (REST, "size of a pixel is missing"),
    ],
)
def test_a_detector_or_version_that_nobody_knows_is_refused(text: str, reason: str, read: Any) -> None:
    with pytest.raises(ConfigError, match=reason):
        Geometry(read(text), (120, 100)).integrator  # noqa: B018


def test_a_file_that_is_not_there_or_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.poni: no such file"):
        Poni.read(str(tmp_path / "none.poni"))
    with pytest.raises(ConfigError, match="not a file"):
        Poni.read(str(tmp_path))


def detector(name: str, **config: Any) -> str:
    return f"poni_version: 2\nDetector: {name}\nDetector_config: {json.dumps(config)}\n{REST}"


@pytest.mark.slow
def test_a_detector_that_does_not_fit_the_frames_is_refused_with_both_shapes(read: Any) -> None:
    with pytest.raises(ConfigError, match=r"Pilatus 1M has 1043 x 981 pixels, the frames are 120 x 100"):
        Geometry(read(detector("Pilatus1M")), (120, 100)).integrator  # noqa: B018
    with pytest.raises(ConfigError, match="981 x 1043"):
        Geometry(read(detector("Pilatus1M")), (981, 1043)).integrator  # noqa: B018
    text = detector("Detector", pixel1=1e-3, pixel2=1e-3, max_shape=[60, 50])
    with pytest.raises(ConfigError, match=r"has 60 x 50 pixels, a\.tif has 120 x 100"):
        Geometry(read(text), (120, 100), "a.tif has").integrator  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize("binning", [1, 2, 4])
def test_a_binned_detector_fits_with_larger_pixels(binning: int, read: Any) -> None:
    shape = (4096 // binning, 4096 // binning)
    assert fits(detector_factory("Perkin"), shape)
    ai = Geometry(read(detector("Perkin", pixel1=1e-4, pixel2=1e-4)), shape).integrator
    assert ai.detector.shape == shape
    assert ai.pixel1 == pytest.approx(1e-4 * binning)
    r = ai.rArray(shape)
    assert r.max() == pytest.approx(np.hypot(0.4096 - 0.06, 0.4096 - 0.05), rel=0.05)  # tilted a little


@pytest.mark.slow
def test_rings_of_a_binned_detector_are_the_same_without_wavelength(read: Any) -> None:
    text = detector("Perkin", pixel1=1e-4, pixel2=1e-4)
    rings = [Geometry(read(each), (256, 256)).rings for each in (text, text.replace("Wavelength: 1e-11\n", ""))]
    np.testing.assert_allclose(rings[0].starts, rings[1].starts, atol=2)  # float32: a pixel may be on an edge


def test_every_pixel_is_in_one_ring_and_in_order_there(read: Any) -> None:
    rings = Geometry(read(V2), (120, 100)).rings
    assert sorted(rings.order.tolist()) == list(range(12000))
    assert (rings.starts[0], rings.starts[-1]) == (0, 12000)
    for first, last in zip(rings.starts[:-1], rings.starts[1:], strict=True):
        assert first < last
        assert np.all(np.diff(rings.order[first:last].astype(np.int64)) > 0)


@pytest.mark.slow
def test_a_ring_is_about_a_pixel_wide(read: Any) -> None:
    made = Geometry(read(V2.replace("0.002,", "0.001,")), (120, 100))
    r = made.integrator.rArray((120, 100)).ravel() / 1e-3
    width = [
        np.ptp(r[made.rings.order[a:b]]) for a, b in zip(made.rings.starts[:-1], made.rings.starts[1:], strict=True)
    ]
    assert 0.3 < np.median(width) < 2
    assert max(width) < 5


def test_a_detector_of_pyfai_adds_no_mask_of_its_own(read: Any) -> None:
    ai = Geometry(read(detector("Pilatus1M")), (1043, 981)).integrator
    assert not ai.detector.mask.any()
    frame = ai.integrate1d(np.full((1043, 981), -2, np.float32), 50, unit="r_mm")
    np.testing.assert_allclose(frame.intensity[frame.count > 0], -2, rtol=1e-5)


def test_the_same_geometry_is_made_once(read: Any) -> None:
    poni = read(V2)
    assert shared_geometry(poni, (120, 100)) is shared_geometry(Poni.read(poni.path), (120, 100))
    assert shared_geometry(poni, (120, 100)) is not shared_geometry(poni, (100, 120))


# ------------------------------------------------------------------------------------------------- formats of others


@pytest.fixture
def frame_free() -> Any:
    """pyFAI's integrator of the geometry in `VERSIONS`."""
    return pyFAI.load(PoniFile({**PoniFile(None).as_dict(), **Poni("v", V21).values}))


def the_same(one: Any, other: Any) -> None:
    for name in ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength", "pixel1", "pixel2"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-12), name


def configurations(ai: Any) -> dict[str, dict[str, Any]]:
    known = PoniFile(ai).as_dict()
    flat = {key: value for key, value in known.items() if key != "poni_version"}
    old = {key: known[key] for key in ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")}
    return {
        "PoniFile.as_dict": known,
        "version 5": {"application": "pyfai-integrate", "version": 5, "poni": known, "nbpt_rad": 10},
        "version 3": {"application": "pyfai-integrate", "version": 3, **flat, "nbpt_rad": 10},
        "version 1": {**old, "detector": "detector", "pixel1": 0.001, "pixel2": 0.002, "shape": [120, 100]},
    }


@pytest.mark.parametrize("kind", ["PoniFile.as_dict", "version 5", "version 3", "version 1"])
def test_a_json_configuration_of_pyfai_gives_its_geometry(kind: str, frame_free: Any, read: Any) -> None:
    the_same(Geometry(read(json.dumps(configurations(frame_free)[kind])), (120, 100)).integrator, frame_free)


def test_what_pyfai_saves_itself_is_read(frame_free: Any, tmp_path: Path) -> None:
    from pyFAI.io.integration_config import WorkerConfig

    path = tmp_path / "config.json"
    WorkerConfig(poni=PoniFile(frame_free), nbpt_rad=100).save(str(path))
    the_same(Poni.read(str(path)).integrator(), frame_free)


@pytest.mark.slow
def test_a_geometry_in_a_nexus_file_of_pyfai_is_found(frame_free: Any, tmp_path: Path) -> None:
    from pyFAI.io.nexus import save_NXmonpd

    result = frame_free.integrate1d(np.ones((120, 100), np.float32), 20)
    path = str(tmp_path / "pattern.nxs")
    save_NXmonpd(path, result)
    for place in ("", "::/entry", "::/entry/pyFAI/poni", "::/entry/pyFAI/poni/data"):
        the_same(Poni.read(path + place).integrator(), frame_free)
    with pytest.raises(ConfigError, match="there is no /nowhere"):
        Poni.read(f"{path}::/nowhere")


def test_of_several_geometries_in_a_nexus_file_one_must_be_named(tmp_path: Path) -> None:
    import h5py

    path = str(tmp_path / "two.h5")
    with h5py.File(path, "w") as file:
        file["a/poni"], file["b/poni"] = V21, V21.replace("0.2", "0.3")
        file["empty/data"] = np.zeros(3)
    with pytest.raises(ConfigError, match="several geometries, /a/poni, /b/poni; say which"):
        Poni.read(path)
    assert Poni.read(f"{path}::/b").integrator().dist == 0.3
    with pytest.raises(ConfigError, match="no geometry in it"):
        Poni.read(f"{path}::/empty")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "Expecting property name"),
        ("[1, 2]", "not a PONI file"),
        ("{}", "distance, poni1, poni2 missing"),
        ('{"version": 1, "poni": "/data/mine.poni"}', "say poni=/data/mine.poni"),
        (V1 + "SplineFile: /nowhere/frelon.spline\n", "distortion file .* is not there"),
    ],
)
def test_what_cannot_be_read_of_others_is_refused(text: str, told: str, read: Any) -> None:
    with pytest.raises(ConfigError, match=told):
        read(text)


FIT2D = {"directDist": 200.0, "centerX": 40.0, "centerY": 61.0, "tilt": 1.5, "tiltPlanRotation": 30.0}


@pytest.mark.slow
def test_the_numbers_of_fit2d_give_the_geometry_that_pyfai_makes_of_them(tmp_path: Path) -> None:
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    theirs = AzimuthalIntegrator()
    theirs.setFit2D(**FIT2D, pixelX=2000, pixelY=1000, wavelength=0.1)
    alone = Poni.of(None, Calibration(fit2d={**FIT2D, "pixelX": 2000, "pixelY": 1000, "wavelength": 0.1}))
    the_same(alone.integrator(), theirs)
    path = tmp_path / "detector.poni"
    path.write_text(V21)
    the_same(Poni.of(str(path), Calibration(fit2d=FIT2D)).integrator(), theirs)
    assert alone.integrator().getFit2D()["centerX"] == pytest.approx(40)


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_a_value_that_is_given_takes_the_place_of_the_files(version: str, read: Any) -> None:
    path = read(VERSIONS[version]).path
    given = {"dist": 0.25, "poni2": 0.01, "rot3": 0.5, "wavelength": 2e-11, "pixel1": 3e-3}
    poni = Poni.of(path, Calibration(**given))
    ai = Geometry(poni, (120, 100)).integrator
    assert {key: getattr(ai, key) for key in given} == given
    assert (ai.poni1, ai.pixel2) == (0.06, 0.002)
    assert poni.changed == given
    assert Poni.of(path, Calibration(orientation=2)).integrator().detector.orientation == 2


def test_the_pixels_of_a_detector_with_a_name_stay(tmp_path: Path) -> None:
    path = tmp_path / "g.poni"
    path.write_text("Detector: Pilatus100k\nDetector_config: {}\nponi_version: 2\n" + REST)
    with pytest.raises(ConfigError, match=r"geometry\.pixel1: the pixels of a Pilatus100k have their size"):
        Poni.of(str(path), Calibration(pixel1=1e-3))
    assert Poni.of(str(path), Calibration(orientation=4)).integrator().detector.orientation == 4


@pytest.mark.slow
def test_values_of_the_geometry_sweep_and_are_on_record(
    poni: Path, frames: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    usual = ["plot=none", "integ.npt=60", "mask=none", "integ.unit=2th_deg", frames[0]]
    assert (
        call(
            "-m",
            "hydra/launcher=basic",
            "report=false",
            f"poni={poni}",
            "geometry.dist=0.5,0.6",
            *usual,
            "output_dir=sweep",
            "quiet=true",
        ).status
        == 0
    )
    one, other = (np.loadtxt(f"sweep/{job}/ni_1.chi") for job in (0, 1))
    assert np.tan(np.deg2rad(one[-1, 0])) / np.tan(np.deg2rad(other[-1, 0])) == pytest.approx(1.2, rel=1e-2)
    header = Path("sweep/1/ni_1.chi").read_text()
    assert '# changed: {"dist": 0.6}\n' in header
    assert '"distance": "0.6"' in header
    told = call("replay", "sweep/1")
    assert told.status == 0, told.out
    told = call(f"poni={poni}", "geometry.dist=0.7", *usual, "output_dir=sweep/1", "resume=true")
    assert (told.status, "replaced" in told.err) == (0, True)  # another geometry is another result


@pytest.mark.slow
def test_a_run_on_a_nexus_geometry_is_repeated_from_its_record(
    poni: Path, frames: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import h5py

    monkeypatch.chdir(tmp_path)
    with h5py.File("g.h5", "w") as file:
        file["entry/calibration/poni"] = poni.read_text()
    words = ["poni=g.h5::/entry/calibration", frames[0], "plot=none", "integ.npt=60", "output_dir=out"]
    assert call(*words).status == 0
    assert "# poni: g.h5::/entry/calibration xxh128:" in Path("out/ni_1.chi").read_text()
    Path("moved").mkdir()
    Path("g.h5").rename("moved/g.h5")
    assert call("replay", "out", "inputs=moved").status == 0


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("geometry.distance=1", "geometry.distance: no such key; did you mean 'geometry.dist'"),
        ("geometry.dist=-1", "geometry.dist=-1.0: a length in m > 0"),
        ("geometry.rot1=much", "geometry.rot1=much: "),
        ("geometry.orientation=5", "geometry.orientation=5: 1, 2, 3 or 4"),
        ("geometry.fit2d.centreX=5", "geometry.fit2d.centreX: no such key; did you mean 'centerX'"),
        ("geometry.fit2d.centerX=5", "geometry.fit2d.directDist: missing"),
        ("geometry=3", "values of the PONI expected"),
    ],
)
def test_what_is_no_value_of_a_geometry_is_refused(key: str, told: str, poni: Path, frames: list[Path]) -> None:
    answer = call(f"poni={poni}", frames[0], key)
    assert answer.status == 2
    assert told in answer.err or key == "geometry=3"
