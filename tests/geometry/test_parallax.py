"""Parallax of thick sensors: pyFAI's correction, by keys of the geometry or by the PONI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyFAI
import pytest
import tifffile
from command import P, call

import xrdpipe
from xrdpipe.geometry import poni as module
from xrdpipe.geometry.calibration import Calibration
from xrdpipe.geometry.geometry import Geometry
from xrdpipe.geometry.poni import Poni
from xrdpipe.model.errors import ConfigError

SHAPE = (120, 100)
SILICON: dict[str, Any] = {"parallax": True, "sensor_material": "Si", "sensor_thickness": 1e-3}
WORDS = ("geometry.parallax=true", "geometry.sensor_material=Si", "geometry.sensor_thickness=1e-3")
has_it = pytest.mark.skipif(pyFAI.version_info[:2] < module.PARALLAX, reason="this pyFAI has no parallax in a PONI")


def theirs(path: Path) -> Any:
    integrator = pyFAI.load(str(path))
    integrator.enable_parallax(True, sensor_material="Si", sensor_thickness=1e-3)
    return integrator


@has_it
@pytest.mark.parametrize("unit", ["2th_deg", "q_A^-1"])
def test_pixels_are_where_pyfai_has_them_and_not_where_they_are_without(unit: str, poni: Path) -> None:
    ours = Geometry(Poni.of(str(poni), Calibration(**SILICON)), SHAPE).integrator
    for kind in ("center_array", "corner_array"):
        one, other, plain = (
            getattr(each, kind)(SHAPE, unit=unit) for each in (ours, theirs(poni), pyFAI.load(str(poni)))
        )
        np.testing.assert_allclose(one, other, rtol=1e-12)
        assert np.abs(one - plain).max() > 1e-4 * plain.max()


@has_it
def test_a_pattern_is_that_of_pyfai_to_a_millionth(poni: Path, frames: list[Path]) -> None:
    run = xrdpipe.integrate(str(poni), frames[0], mask="none", integ={"npt": 100}, overrides=WORDS, output_dir=None)
    pattern = run.patterns["ni_1"]
    keys: dict[str, Any] = {"unit": "q_A^-1", "method": ("full", "csr", "cython"), "correctSolidAngle": False}
    image = tifffile.imread(frames[0]).astype(np.float32)
    expected, plain = (each.integrate1d(image, 100, **keys) for each in (theirs(poni), pyFAI.load(str(poni))))
    np.testing.assert_allclose(pattern.radial, expected.radial, rtol=1e-6)
    np.testing.assert_allclose(pattern.intensity, expected.intensity, rtol=1e-6)
    assert not np.allclose(pattern.intensity, plain.intensity, rtol=1e-3)


@has_it
def test_a_poni_that_pyfai_saved_with_parallax_has_it_and_the_key_switches_it_off(poni: Path, tmp_path: Path) -> None:
    saved = tmp_path / "parallax.poni"
    theirs(poni).save(str(saved))
    arrays = {
        key: Geometry(Poni.of(str(saved), Calibration(parallax=key)), SHAPE).integrator.center_array(SHAPE, unit="r_mm")
        for key in (None, True, False)
    }
    np.testing.assert_array_equal(arrays[None], theirs(poni).center_array(SHAPE, unit="r_mm"))
    np.testing.assert_array_equal(arrays[None], arrays[True])
    np.testing.assert_array_equal(arrays[False], pyFAI.load(str(poni)).center_array(SHAPE, unit="r_mm"))


@has_it
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"parallax": True}, "geometry.parallax=true: the PONI has no sensor; say geometry.sensor_material=Si"),
        ({"parallax": True, "sensor_material": "Cdte"}, "no sensor material 'Cdte'; did you mean 'CdTe'?"),
        ({"sensor_material": "Si"}, "geometry.sensor_material=Si: without effect; say geometry.parallax=true"),
    ],
)
def test_a_sensor_that_cannot_be_is_refused_by_name(given: dict[str, Any], said: str, poni: Path) -> None:
    with pytest.raises(ConfigError) as error:
        Poni.of(str(poni), Calibration(**given))
    assert said in str(error.value)


@has_it
def test_a_poni_without_wavelength_is_refused(poni: Path) -> None:
    lines = [line for line in poni.read_text().splitlines() if not line.startswith("Wavelength")]
    poni.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=r"geometry\.parallax=true: needs a wavelength"):
        Poni.of(str(poni), Calibration(**SILICON))
    assert Poni.of(str(poni), Calibration(**SILICON, wavelength=1e-11)).integrator().parallax is not None


def test_an_older_pyfai_is_named(poni: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "versions", lambda: {"pyFAI": "2025.3.0"})
    with pytest.raises(ConfigError, match=r"pyFAI 2025\.3\.0 does not read it from a PONI; install pyFAI 2025\.12"):
        Poni.of(str(poni), Calibration(**SILICON))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("geometry.sensor_thickness=-1", "geometry.sensor_thickness=-1.0: a length in m > 0 expected"),
        ("geometry.parallax=much", "geometry.parallax=much: true or false or null expected"),
    ],
)
def test_values_that_cannot_be_are_refused(
    word: str, said: str, poni: Path, frames: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = call(P, frames[0], word, "output_dir=out")
    assert told.status == 2, told
    assert said in told.err


def test_the_default_geometry_is_recorded_as_before(poni: Path) -> None:
    plain = Poni.of(str(poni), Calibration())
    assert plain.changed == {}
    assert "parallax" not in plain.values
    assert "sensor" not in json.loads(plain.values["detector_config"])
