"""Geometries from motor positions, beside those of pyFAI's own Goniometer for the same JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from command import FAST, P, call, results, run_record, summary_rows
from pyFAI.goniometer import ExtendedTransformation, GeometryTransformation, Goniometer

from xrdpipe.geometry.calibration import Calibration
from xrdpipe.geometry.goniometer import parse_goniometer
from xrdpipe.geometry.poni import Poni
from xrdpipe.model.errors import ConfigError

NU = (0.0, 4.0, 9.0)  # degrees
Z = (0.0, 1.0, -2.0)  # mm
CONFIG = {"pixel1": 1e-3, "pixel2": 1e-3, "max_shape": [120, 100], "orientation": 3}
PARAMETERS = {"dist": 0.5, "poni1": 0.06, "poni2": 0.043, "rot1": 0.01, "rot2": -0.02, "scale": 1.002}
FORMULAS = {
    "dist_expr": "sqrt(dist**2 + (1e-3*z)**2)",
    "poni1_expr": "poni1 - z / 1000",
    "poni2_expr": "poni2",
    "rot1_expr": "scale * nu * pi / 180 + rot1",
    "rot2_expr": "rot2 + arctan2(1e-4 * abs(z), dist)",
    "rot3_expr": "0",
}
WORDS = ("data/g_*.tif", "integ.radial_range=[1,8]", "mask=none", *FAST)


def saved(path: Path, made: type = GeometryTransformation, **changes: str) -> Goniometer:
    """A goniometer of two motors, saved as pyFAI saves it, and read again."""
    extended = made is ExtendedTransformation
    function = made(
        **{**FORMULAS, **({"wavelength_expr": "1e-10 * hc / energy"} if extended else {}), **changes},
        param_names=[*PARAMETERS, *(["energy"] if extended else [])],
        pos_names=["nu", "z"],
    )
    values = [*PARAMETERS.values(), *([70.0] if extended else [])]
    Goniometer(values, function, "Detector", None if extended else 2e-11).save(path)
    config = json.loads(path.read_text()) | {"detector": "Detector", "detector_config": CONFIG}
    path.write_text(json.dumps(config), encoding="utf-8")
    return Goniometer.sload(str(path))


@pytest.fixture
def arm(data: Path, frames: list[Path], monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Three frames with the positions of two motors in their headers and in motors.csv."""
    monkeypatch.chdir(data.parent)
    images = [tifffile.imread(path) for path in frames]
    rows = ["file,angle,height"]
    for number, (image, nu, z) in enumerate(zip(images, NU, Z, strict=True)):
        tifffile.imwrite(data / f"g_{number}.tif", image, description=f"nu = {nu}\nz = {z}", metadata=None)
        rows.append(f"g_{number}.tif,{nu},{z}")
    Path("motors.csv").write_text("\n".join(rows), encoding="utf-8")
    return images


@pytest.mark.parametrize("made", [GeometryTransformation, ExtendedTransformation])
def test_the_geometry_at_a_position_is_that_of_pyfai(made: type, tmp_path: Path) -> None:
    theirs = saved(tmp_path / "trans.json", made)
    ours = parse_goniometer((tmp_path / "trans.json").read_text())
    assert ours.motors == ("nu", "z")
    for nu, z in zip(NU, Z, strict=True):
        expected = theirs.get_ai((nu, z))
        values = {"wavelength": 2e-11, **ours.at({"nu": nu, "z": z})}
        for name, value in values.items():
            assert value == pytest.approx(getattr(expected, name), rel=1e-12, abs=1e-15), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("made", "words"),
    [
        (GeometryTransformation, ()),
        pytest.param(
            ExtendedTransformation,
            ("geometry.position=[motors.csv:angle,motors.csv:height]",),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_patterns_and_the_merged_one_are_those_of_pyfai(
    made: type, words: tuple[str, ...], arm: list[np.ndarray]
) -> None:
    goniometer = saved(Path("trans.json"), made)
    told = call("poni=trans.json", "integ=multi", "output_dir=out", *WORDS, *words, "integ.correctSolidAngle=true")
    assert told.status == 0, told.err
    method = ("full", "csr", "cython")
    for number, (image, position) in enumerate(zip(arm, zip(NU, Z, strict=True), strict=True)):
        integrator = goniometer.get_ai(position)
        expected = integrator.integrate1d(
            image, 100, unit="q_A^-1", radial_range=(1, 8), method=method, mask=image * 0, correctSolidAngle=True
        )
        same(Path(f"out/g_{number}.chi"), expected)
    many = goniometer.get_mg(list(zip(NU, Z, strict=True)), unit="q_A^-1", radial_range=(1, 8))
    masks = [image * 0 for image in arm]
    same(Path("out/merged/pattern.chi"), many.integrate1d(arm, 100, method=method, lst_mask=masks))


def same(path: Path, expected: Any) -> None:
    radial, intensity = np.loadtxt(path).T
    filled = np.isin(np.round(expected.radial, 4), np.round(radial, 4))
    assert filled.sum() == len(radial) > 30
    np.testing.assert_allclose(intensity, expected.intensity[filled], rtol=1e-6)


@pytest.mark.slow
def test_a_position_may_be_an_expression_and_a_value_of_ones_own_wins(arm: list[np.ndarray]) -> None:
    saved(Path("trans.json"))
    call("poni=trans.json", "output_dir=out", *WORDS, "geometry.rot3=0.1")
    told = call("poni=trans.json", "output_dir=said", *WORDS, "geometry.position=[2 * nu / 2,z]", "geometry.rot3=0.1")
    assert told.status == 0, told.err
    assert results(Path("out"), "*.chi") == results(Path("said"), "*.chi") != {}
    assert '"rot3": "0.1"' in Path("out/g_0.chi").read_text()
    assert call("replay", "out").status == 0


@pytest.mark.slow
def test_a_changed_goniometer_is_another_configuration(arm: list[np.ndarray]) -> None:
    saved(Path("trans.json"))
    call("poni=trans.json", "output_dir=out", *WORDS)
    assert run_record(Path("out"))["inputs"]["poni"]["given"] == "trans.json"
    saved(Path("trans.json"), rot3_expr="1e-3")
    told = call("poni=trans.json", "output_dir=out", *WORDS)
    assert told.status == 2
    assert "holds results of another configuration" in told.err


def test_a_frame_without_a_position_fails_alone(arm: list[np.ndarray]) -> None:
    saved(Path("trans.json"), rot3_expr="0 * log(nu + 1)")
    tifffile.imwrite("data/g_0.tif", arm[0], description="z = 1\nmu = 2", metadata=None)
    tifffile.imwrite("data/g_1.tif", arm[1], description="z = 1\nnu = -2", metadata=None)
    told = call("poni=trans.json", "output_dir=out", *WORDS)
    assert told.status == 1
    errors = [row["error"] for row in summary_rows(Path("out"))]
    assert "geometry.position.nu=header['nu']: data/g_0.tif: nu: no such key" in errors[0]
    assert "nu=-2.0, z=1.0: rot3_expr=0 * log(nu + 1): math domain error" in errors[1]
    assert errors[2] == ""


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["geometry.position=[nu]"], "a value for each motor expected, nu, z"),
        (["geometry.position=[nu,nope]"], "geometry.position.z=nope: data/g_0.tif: nope: no such key"),
        (["geometry.position=[nu,motors.csv:depth]"], "motors.csv has no such column"),
        (["geometry.position=[nu,z.real]"], "position=z.real: z.real is not allowed"),
        (["geometry.poni=other"], "geometry.poni: together with the goniometer poni=trans.json"),
        ([P, "geometry.position=nu"], "geometry.position=['nu']: poni=data/tiny.poni is no goniometer of pyFAI"),
        (["mask=series"], "geometry.position.nu: a static mask needs one geometry for all frames"),
    ],
)
def test_positions_that_cannot_be_are_refused_before_any_frame(
    words: list[str], reason: str, arm: list[np.ndarray], poni: Path
) -> None:
    saved(Path("trans.json"))
    told = call("poni=trans.json", "output_dir=out", *WORDS, *words)
    assert told.status == 2
    assert reason in told.err
    assert not Path("out").exists()


def changed(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    *groups, name = path.split(".")
    inner = config
    for group in groups:
        inner = inner[group]
    inner[name] = value
    return config


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("content", "Goniometer calibration v9", "a goniometer has the content 'Goniometer calibration v2'"),
        ("trans_function.content", "os.system", "of the class 'os.system'; GeometryTransformation or Extended"),
        ("trans_function.rot1_expr", "__import__('os').system('id')", "rot1_expr=__import__('os').system('id'): "),
        ("trans_function.rot1_expr", "nu.real", "nu.real is not allowed"),
        ("trans_function.rot1_expr", "(nu > 1) * 2", "plain arithmetic expected"),
        ("trans_function.rot1_expr", "nu % 3", "plain arithmetic expected"),
        ("trans_function.rot1_expr", "header['nu']", "plain arithmetic expected"),
        ("trans_function.rot1_expr", "where(nu, 1, 2)", "where(nu, 1, 2) is not allowed"),
        ("trans_function.rot1_expr", "mu", "mu is neither a parameter nor a motor nor a constant"),
        ("trans_function.rot1_expr", "(" * 60 + "nu" + ")" * 60 + "+1" * 900, "an expression of 1 to 1000 characters"),
        ("trans_function.rot1_expr", 3, "rot1_expr is 3, a text expected"),
        ("trans_function.rot1_expr", None, "trans_function has no rot1_expr"),
        ("trans_function.funct", "f", "trans_function has an unknown 'funct'"),
        ("trans_function.pos_names", "nu", "trans_function.pos_names: a list of names expected"),
        ("trans_function.pos_names", ["nu", "dist"], "dist has two meanings in it"),
        ("trans_function.constants", {"pi": "3"}, "constants.pi is '3', a number is expected"),
        ("trans_function", [], "trans_function is no JSON object"),
        ("param", [0.5], "param: a list of 6 numbers expected"),
        ("param", [0.5, 0, 0, 0, 0, float("nan")], "param scale is nan, a number is expected"),
        ("detector", None, "detector or detector_config cannot be read"),
        ("detector", "Pilatus1", "no detector is called 'Pilatus1'"),
        ("wavelength", "red", "wavelength is 'red', a number is expected"),
    ],
)
def test_a_file_that_is_no_goniometer_is_refused_in_words(path: str, value: Any, reason: str, tmp_path: Path) -> None:
    saved(tmp_path / "trans.json")
    config = json.loads((tmp_path / "trans.json").read_text())
    (tmp_path / "trans.json").write_text(json.dumps(changed(config, path, value)), encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(reason)):
        Poni.of(str(tmp_path / "trans.json"), Calibration()).integrator()


def test_a_run_with_code_in_place_of_a_formula_ends_before_any_frame(arm: list[np.ndarray]) -> None:
    saved(Path("trans.json"))
    config = changed(
        json.loads(Path("trans.json").read_text()), "trans_function.rot1_expr", "__import__('os').mkdir('made')"
    )
    Path("trans.json").write_text(json.dumps(config), encoding="utf-8")
    told = call("poni=trans.json", "output_dir=out", *WORDS)
    assert told.status == 2
    assert "poni=trans.json: rot1_expr=__import__('os').mkdir('made'): " in told.err
    assert "Traceback" not in told.err
    assert not Path("made").exists()
    assert not Path("out").exists()


@pytest.mark.parametrize("number", ["9**9**9**9**9 * nu", "9" * 400, "1e400"])
def test_a_number_that_is_too_large_ends_in_words(number: str, tmp_path: Path) -> None:
    saved(tmp_path / "trans.json", rot1_expr="nu + 1")
    text = (tmp_path / "trans.json").read_text()
    with pytest.raises(ValueError, match="rot1_expr"):
        parse_goniometer(text.replace('"nu + 1"', f'"{number}"')).at({"nu": 1.0, "z": 0.0})
    with pytest.raises(ValueError, match="param dist is"):
        parse_goniometer(text.replace("0.5", "9" * 400, 1))


@pytest.mark.slow
def test_the_doctor_takes_the_geometry_of_its_frame(arm: list[np.ndarray], poni: Path) -> None:
    saved(Path("trans.json"), rot1_expr="rot1 + nu", dist_expr="dist * z")
    for z, rot1 in ((1.0, 0.01), (1.2, 0.31)):
        tifffile.imwrite("data/g_0.tif", arm[0], description=f"nu = {rot1 - 0.01}\nz = {z}", metadata=None)
        told = call("doctor", "poni=trans.json", "data/g_0.tif")
        values = {"dist": 0.5 * z, "rot1": rot1, "poni1": 0.06 - z / 1000, "poni2": 0.043}
        values |= {"rot2": float(-0.02 + np.arctan2(1e-4 * z, 0.5)), "rot3": 0, "wavelength": 2e-11}
        same_words = call("doctor", P, "data/g_0.tif", *(f"geometry.{key}={value}" for key, value in values.items()))
        assert told.out.split()[7:] == same_words.out.split()[7:]
    told = call("doctor", "poni=trans.json", "data/ni_1.tiff")
    assert told.status == 2
    assert "geometry.position.nu=header['nu']: data/ni_1.tiff: nu: no such key" in told.err


def test_a_command_for_one_geometry_says_what_a_goniometer_is(arm: list[np.ndarray]) -> None:
    saved(Path("trans.json"))
    with pytest.raises(ValueError, match="a goniometer, whose geometry depends on its motors; here a PONI is needed"):
        Poni.read("trans.json")
    told = call("look", "poni=trans.json", "data/g_0.tif")
    assert told.status == 2
    assert "geometry.position.nu: look needs one geometry for all frames" in told.err
