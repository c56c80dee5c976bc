"""Corrections of intensity: the same numbers as pyFAI, Dioptas and closed formulas, for tilted detectors too."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import FAST, call
from numpy.typing import NDArray
from scipy.special import iv, modstruve

from xrdpipe.geometry.geometry import Geometry
from xrdpipe.geometry.poni import Poni
from xrdpipe.geometry.rays import Rays
from xrdpipe.model.errors import ConfigError, FrameError
from xrdpipe.model.frame import Frame
from xrdpipe.numerics.constants import DETECTOR
from xrdpipe.numerics.intensity.absorption import plate_transmission, sensor_absorption, tilted
from xrdpipe.numerics.intensity.cell import Cell, cell_transmission
from xrdpipe.numerics.intensity.cylinder import cylinder_transmission
from xrdpipe.stages.correction import Correction
from xrdpipe.stages.simulation import Simulation
from xrdpipe.stages.stage import Setup

Floats = NDArray[np.float64]
TILTED = Simulation(
    shape=(60, 50), pixel=(2e-3, 2e-3), dist=0.1, poni=(0.3, 1.4), rot=(0.3, -0.2, 0.5), wavelength=0.4e-10
)
ANGLES = np.deg2rad([[5.0, 14.5, 15.5, 30.0], [5.0, 14.5, 15.5, 30.0]])  # 2theta
AZIMUTHS = np.deg2rad([[20.0] * 4, [-130.0] * 4])
CELLS: list[dict[str, float]] = [
    {},
    {"tilt": 2.0, "tilt_rotation": 30.0},
    {"tilt": 1.0, "tilt_rotation": 200.0, "center_offset": 0.05, "center_offset_angle": 40.0},
]
# CbnCorrection of Dioptas 0.11.0 for these angles and cells
FROM_DIOPTAS = [
    [
        [0.863688556672, 0.834096048763, 0.719280817334, 0.560181253779],
        [0.863688556672, 0.834096048763, 0.719280817334, 0.560181253779],
    ],
    [
        [0.863229337285, 0.592538722116, 0.590885028986, 0.55344420164],
        [0.863974001516, 0.861043191698, 0.860518212803, 0.566053444281],
    ],
    [
        [0.863862312913, 0.853194750506, 0.794794337319, 0.56338019813],
        [0.863501661164, 0.734718700319, 0.592697793108, 0.557280809542],
    ],
]


def directions(two_theta: Any, chi: Any) -> Floats:
    sine = np.sin(two_theta)
    return np.array([np.cos(two_theta), sine * np.cos(chi), sine * np.sin(chi)])


def pyfai_angle(geometry: Geometry, unit: str) -> Floats:
    return np.asarray(geometry.integrator.center_array(TILTED.shape, unit=unit, scale=False))


def cell_of(keys: dict[str, float]) -> Cell:
    angles = {"rotation": "tilt_rotation", "offset_angle": "center_offset_angle", "tilt": "tilt"}
    turned = {name: float(np.deg2rad(keys.get(key, 0.0))) for name, key in angles.items()}
    return Cell(2.0, 13.7, 5.0, 14.05, 0.5, 2.0, offset=keys.get("center_offset", 0.0), **turned)


def dioptas() -> Any:
    """The module of corrections of Dioptas, without its windows."""
    found = importlib.util.find_spec("dioptas")
    if found is None or found.origin is None:
        pytest.skip("Dioptas is not installed")
    path = Path(found.origin).parent / "model" / "util" / "ImgCorrection.py"
    spec = importlib.util.spec_from_file_location("dioptas_corrections", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def geometry() -> Geometry:
    return Geometry(Poni("tilted.poni", TILTED.poni_text()), TILTED.shape)


def test_rays_of_a_tilted_detector_are_those_of_its_rotation_matrix(geometry: Geometry) -> None:
    """Positions in the detector's plane, turned as pyFAI's documentation of a PONI says."""
    first, second, third = TILTED.rot
    turn1 = np.array([[1, 0, 0], [0, np.cos(first), np.sin(first)], [0, -np.sin(first), np.cos(first)]])
    turn2 = np.array([[np.cos(second), 0, -np.sin(second)], [0, 1, 0], [np.sin(second), 0, np.cos(second)]])
    turn3 = np.array([[np.cos(third), -np.sin(third), 0], [np.sin(third), np.cos(third), 0], [0, 0, 1]])
    matrix = turn3 @ turn2 @ turn1
    y, x = np.indices(TILTED.shape) + 0.5
    flat = [y * 2e-3 - 0.3 * 60 * 2e-3, x * 2e-3 - 1.4 * 50 * 2e-3, np.full(TILTED.shape, TILTED.dist)]
    position = np.tensordot(matrix, np.array(flat), axes=1)
    position /= np.linalg.norm(position, axis=0)
    rays = Rays.of(geometry)
    np.testing.assert_allclose(rays.direction, position[[2, 1, 0]], atol=1e-12)
    np.testing.assert_allclose(rays.cos_incidence, np.tensordot(matrix[:, 2], position, axes=1), atol=1e-12)
    np.testing.assert_allclose(rays.two_theta, pyfai_angle(geometry, "2th_rad"), atol=1e-9)
    np.testing.assert_allclose(np.cos(rays.chi - pyfai_angle(geometry, "chi_rad")), 1, atol=1e-9)


def test_polarization_with_an_angle_is_that_of_pyfai(geometry: Geometry) -> None:
    stage = Correction(polarization_factor=0.9, polarization_offset=25.0)
    expected = geometry.integrator.polarization(TILTED.shape, 0.9, axis_offset=np.deg2rad(25))
    np.testing.assert_allclose(stage.factor(geometry), expected, rtol=1e-6)


def test_the_sensor_at_an_angle_is_that_of_pyfai(geometry: Geometry) -> None:
    stage = Correction(sensor_thickness=0.45, sensor_absorption=1.5)
    expected = geometry.integrator.calc_transmission(np.exp(-0.45 * 1.5), TILTED.shape)
    np.testing.assert_allclose(stage.factor(geometry), expected, rtol=1e-6)


def test_the_lorentz_factor_is_that_of_the_tables(geometry: Geometry) -> None:
    theta = pyfai_angle(geometry, "2th_rad") / 2
    expected = 1 / (4 * np.sin(theta) ** 2 * np.cos(theta))
    np.testing.assert_allclose(Correction(lorentz=True).factor(geometry), expected, rtol=1e-6)


@pytest.mark.parametrize(("keys", "expected"), [*zip(CELLS, FROM_DIOPTAS, strict=True)])
def test_the_cell_has_the_reference_numbers_of_dioptas(keys: dict[str, float], expected: list[list[float]]) -> None:
    found = cell_transmission(directions(ANGLES, AZIMUTHS), cell_of(keys))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("keys", CELLS)
def test_cell_and_sensor_are_those_of_the_installed_dioptas(keys: dict[str, float]) -> None:
    module = dioptas()
    two_theta, chi = np.meshgrid(np.linspace(0.01, 1.2, 50), np.linspace(-np.pi, np.pi, 60))
    peer = module.CbnCorrection(np.rad2deg(two_theta), np.rad2deg(chi), **keys)
    peer.update()
    found = cell_transmission(directions(two_theta, chi), cell_of(keys))
    np.testing.assert_allclose(found, peer.get_data(), rtol=1e-6)
    sensor = module.ObliqueAngleDetectorAbsorptionCorrection(two_theta, chi, 40, 150).get_data()
    np.testing.assert_allclose(sensor_absorption(np.cos(two_theta), 40 / 150), sensor, rtol=1e-6)


@pytest.mark.parametrize("two_theta", [0.0, 0.5, 1.2, 2.0, 2.9])
def test_the_transmission_of_a_tilted_plate_is_the_mean_over_its_depth(two_theta: float) -> None:
    normal, mu_t = tilted(0.6, 0.4), 1.7
    direction = directions(np.array([two_theta]), np.array([1.1]))
    depth = (np.arange(100_000) + 0.5) / 100_000
    cosine = float(normal @ direction[:, 0])
    way_out = (1 - depth) / cosine if cosine > 0 else depth / -cosine
    expected = np.exp(-mu_t * (depth / normal[0] + way_out)).mean()
    assert plate_transmission(direction, mu_t, normal)[0] == pytest.approx(expected, rel=1e-6)


def slab(theta: float, tilt: float, turn: float, mu_t: float) -> float:
    """The transmission, at 2theta and azimuth 0, times the path of the beam in a slab of thickness 1."""
    normal = tilted(tilt, turn)
    return float(plate_transmission(directions(np.array([2 * theta]), 0.0), mu_t, normal)[0] / normal[0])


@pytest.mark.parametrize(("theta", "phi"), [(0.3, 0.0), (0.3, 0.1), (0.5, -0.2)])
def test_a_plate_has_the_transmission_coefficients_of_the_tables(theta: float, phi: float) -> None:
    """Table 6.3.3.1 of Maslen, International Tables for Crystallography C (2006), for slabs of thickness 1."""
    enters, leaves = np.sin(theta + phi), np.sin(theta - phi)
    thick = leaves / (80 * (leaves + enters))
    assert slab(theta, np.pi / 2 - theta - phi, np.pi, 80.0) == pytest.approx(thick, rel=1e-9)
    thin = (1 - np.exp(-2 * 1.3 / np.sin(theta))) / (2 * 1.3)
    assert slab(theta, np.pi / 2 - theta, np.pi, 1.3) == pytest.approx(thin, rel=1e-9)
    through = np.exp(-1.3 / np.cos(theta)) / np.cos(theta)
    assert slab(theta, theta, 0.0, 1.3) == pytest.approx(through, rel=1e-9)


@pytest.mark.parametrize("mu_r", [0.1, 1.0, 3.0])
def test_a_capillary_has_the_transmissions_of_sabine_at_0_and_180_degrees(mu_r: float) -> None:
    """Closed forms of Sabine, Hunter, Sabine & Ball, J. Appl. Cryst. 31 (1998), 47-51."""
    z = 2 * mu_r
    forward = 2 * (iv(0, z) - modstruve(0, z) - (iv(1, z) - modstruve(1, z)) / z)
    backward = (iv(1, 2 * z) - modstruve(1, 2 * z)) / z
    found = cylinder_transmission(directions(np.array([0.0, np.pi]), np.pi / 2), mu_r, 0.0)
    np.testing.assert_allclose(found, [forward, backward], rtol=1e-6)


def test_rays_out_of_the_plane_of_a_capillary_have_the_integral_over_its_section() -> None:
    direction = directions(np.array([0.4, 0.9, 1.9]), np.array([0.3, 1.0, -2.0]))
    r, turn = (np.arange(500) + 0.5) / 500, (np.arange(1000) + 0.5) * 2 * np.pi / 1000
    x, y = r[:, None] * np.cos(turn), r[:, None] * np.sin(turn)
    u, v = direction[0], direction[2] * np.cos(0.4) - direction[1] * np.sin(0.4)
    for number, found in enumerate(cylinder_transmission(direction, 0.8, 0.4)):
        along, steep = x * u[number] + y * v[number], u[number] ** 2 + v[number] ** 2
        way_out = (np.sqrt(along**2 + steep * (1 - x**2 - y**2)) - along) / steep
        paths = np.sqrt(1 - y**2) + x + way_out
        expected = (np.exp(-0.8 * paths) * r[:, None]).sum() / (r.sum() * turn.size)
        assert found == pytest.approx(expected, rel=1e-4)


def test_the_image_is_divided_by_the_factor_and_the_variance_by_its_square(setup: Setup) -> None:
    shape = setup.geometry.shape
    stage = Correction(polarization_factor=0.9, sensor_thickness=0.5, sensor_absorption=1.0, plate_mu_t=0.7)
    factor = stage.factor(setup.geometry)
    before = Frame("a", np.full(shape, 8, np.float32), variance=np.full(shape, 16, np.float32))
    after = stage.prepare(setup)(before)
    assert after.variance is not None
    assert after.image.dtype == after.variance.dtype == np.float32
    np.testing.assert_allclose(after.image, 8 / factor, rtol=1e-6)
    np.testing.assert_allclose(after.variance, 16 / factor**2, rtol=1e-6)


def test_rays_that_do_not_leave_the_cell_are_masked(setup: Setup, geometry: Geometry) -> None:
    stage = Correction(diamond_thickness=2.0, cell_tilt=80.0)
    after = stage.prepare(replace(setup, geometry=geometry))(Frame("a", np.ones(TILTED.shape, np.float32)))
    hidden = ~(stage.factor(geometry) > 1e-9)
    assert after.mask is not None
    assert 0 < hidden.sum() < hidden.size
    assert ((after.mask == DETECTOR) == hidden).all()
    assert np.isfinite(after.image).all()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"polarization_factor": 1.1}, "polarization_factor=1.1"),
        ({"sensor_thickness": 0.4}, "needs either sensor_absorption"),
        ({"sensor_absorption": 0.4}, "without sensor_thickness"),
        ({"plate_mu_t": -1.0}, "plate_mu_t=-1.0"),
        ({"plate_mu_t": 1.0, "plate_tilt": 90.0}, "plate_tilt=90.0"),
        ({"plate_mu_t": 1.0, "capillary_mu_r": 1.0}, "choose one"),
        ({"plate_transmission": 0.5, "plate_mu_t": 1.0}, "choose one"),
        ({"plate_transmission": 1.5}, "between 0 and 1"),
        ({"plate_transmission": "import os"}, "no expression"),
        ({"capillary_mu_r": 11.0}, "at most 10"),
        ({"cell_offset": 0.6}, "less than seat_small_radius"),
        ({"diamond_thickness": 2.0, "seat_large_radius": 0.6}, "shadows the opening"),
        ({"seat_abs_length": float("nan")}, "finite"),
    ],
)
def test_what_cannot_be_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Correction(**keys)


@pytest.mark.slow
def test_the_command_line_records_only_what_is_switched_on_and_refuses_polarization_twice(
    poni: Path, frames: list[Path], tmp_path: Path
) -> None:
    plain, out = tmp_path / "plain", tmp_path / "out"
    assert call(f"poni={poni}", frames[0], *FAST, f"output_dir={plain}").status == 0
    assert '"flat_file": null, "saturation": null}' in (plain / "ni_1.chi").read_text()
    keys = ("correction.polarization_factor=0.99", "integ.error_model=poisson")
    assert call(f"poni={poni}", frames[0], *keys, *FAST, f"output_dir={out}").status == 0
    header = (out / "ni_1.chi").read_text()
    assert '"polarization_factor": 0.99' in header
    assert "lorentz" not in header
    assert call("replay", out).status == 0
    twice = call(f"poni={poni}", frames[0], *keys, "integ.polarization_factor=0.9", f"output_dir={tmp_path / 'no'}")
    assert twice.status == 2
    assert "leave out one of them" in twice.err


@pytest.mark.parametrize("where", ["diode_2 / diode_1 / 0.5", 0.3, "/entry/diode", "{folder}/t.csv:T"])
def test_the_thickness_of_a_plate_follows_from_the_transmission_of_each_frame(
    where: float | str, setup: Setup, tmp_path: Path
) -> None:
    shape, (tilt, turn) = setup.geometry.shape, (30.0, 20.0)
    (tmp_path / "t.csv").write_text("frame,T\nb,0.6\na,0.3\n", encoding="utf-8")
    measured = Correction(
        plate_transmission=where.format(folder=tmp_path) if isinstance(where, str) else where,
        plate_tilt=tilt,
        plate_rotation=turn,
        polarization_factor=0.9,
    )
    mu_t = -np.log(0.3) * np.cos(np.deg2rad(tilt))
    known = Correction(plate_mu_t=mu_t, plate_tilt=tilt, plate_rotation=turn, polarization_factor=0.9)
    header = {"diode_1": 2000, "diode_2": 300.0, "/entry/diode": 0.3}
    ones = np.ones(shape, np.float32)
    frame = Frame("a", ones * 8, variance=ones * 16, header=header)
    found, expected = (stage.prepare(setup)(frame) for stage in (measured, known))
    np.testing.assert_allclose(found.image, expected.image, rtol=1e-6)
    np.testing.assert_allclose(found.variance, expected.variance, rtol=1e-6)
    np.testing.assert_array_equal(found.mask, expected.mask)


@pytest.mark.parametrize(
    ("where", "says"), [("diode", "diode: not in"), ("bright", "is 1.2, a number between 0 and 1"), ("name", "'x'")]
)
def test_a_frame_without_a_transmission_fails(where: str, says: str, setup: Setup) -> None:
    step = Correction(plate_transmission=where).prepare(setup)
    with pytest.raises(FrameError, match=says):
        step(Frame("a", np.ones(setup.geometry.shape, np.float32), header={"bright": 1.2, "name": "x"}))
