"""What the page shows is what a run with its text writes."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pyFAI
import pytest
from command import xrdpipe
from look_page import HOSTILE, WORDS, Page, served

from xrdpipe.io.formats import chi_text
from xrdpipe.io.image_file import read_file
from xrdpipe.model.pattern import Pattern

QUIET = ("plot=none", "report=false", "quiet=true")
DRAWN = [
    {"kind": "circle", "points": [[60, 30]], "radius": 9},
    {"kind": "rectangle", "points": [[10, 60], [30, 90]]},
    {"kind": "rectangle", "points": [[15, 70], [20, 75]], "unmask": True},
    {"kind": "threshold", "points": [], "high": 5000},
]


def as_written(answer: Any, chi: str) -> str:
    """The pattern of an answer as a run writes it, under the header of a file."""
    header, _, _ = chi.rpartition("\n#")
    names = chi[len(header) + 2 :].partition("\n")[0]
    x, y, sigma = (
        None if answer["pattern"][name] is None else np.array(answer["pattern"][name], float)
        for name in ("x", "y", "sigma")
    )
    assert x is not None
    assert y is not None
    rows = chi_text(Pattern(x, y, sigma, answer["pattern"]["unit"]), {}).partition("\n")[2]
    return f"{header}\n#{names}\n{rows}"


def run_text(folder: Path, command: str, output: str) -> Path:
    """The results of a command line as the page gives it."""
    program, *words = shlex.split(command)
    assert program == "xrdpipe"
    told = xrdpipe(*words, f"output_dir={output}", *QUIET, cwd=folder)
    assert told.status in (0, 1), told
    return folder / output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("keys", {"values": {"mask.alpha": 3, "integ.error_model": "poisson", "integ.unit": "2th_deg"}}),
        ("options", {"choices": {"mask": "robust", "integ": "cake"}, "values": {"background.scale": 0.5}}),
        ("lists", {"frame": 3, "values": {"integ.radial_range": [1, 5.5], "mask.edge": None}}),
        ("drawn", {"frame": 1, "values": {"mask.alpha": 2.5}, "shapes": DRAWN}),
        ("series", {"choices": {"mask": "series"}, "values": {"background.scale": "auto"}}),
    ],
)
def test_a_saved_experiment_and_the_command_line_run_to_the_bytes_that_the_page_showed(
    page: Page, name: str, view: dict[str, Any]
) -> None:
    answer = page.view(**view, name=name)
    saved = page.post("/api/save", {"view": view, "name": name, "what": "experiment"})
    assert saved.status == 200, saved
    assert saved.json["next"] == f"xrdpipe --config-dir look experiment={name}"
    assert f"experiment/{name}.yaml" in saved.json["written"]
    assert (page.folder / "look" / "experiment" / f"{name}.yaml").read_text() == answer["yaml"]
    chi = f"{answer['frame']}.chi"
    for way, command in (("yaml", saved.json["next"]), ("line", answer["command"])):
        written = (run_text(page.folder, command, f"{name}_{way}") / chi).read_text()
        assert written == as_written(answer, written)
        assert written.count("\n") > 40


@pytest.mark.slow
def test_sum_and_mean_of_a_series_are_those_of_a_run_and_the_maximum_says_that_it_is_none(measured: Path) -> None:
    with served(measured, "poni=data/tiny.poni", "data/ni_1.tiff", "data/ni_2.tiff", "integ.npt=100") as page:
        for combine, key in (("sum", "source.sum=2"), ("mean", "source.average=2")):
            answer = page.view(combine=combine, frame=1)
            assert key in answer["command"]
            written = (run_text(page.folder, answer["command"], combine) / "ni_1.chi").read_text()
            assert written == as_written(answer, written)
        largest = page.view(combine="maximum")
        assert "source." not in largest["command"]
        assert any("maximum" in note for note in largest["notes"])
        frames = np.stack([read_file(page.folder / "data" / f"ni_{number}.tiff")[0] for number in (1, 2)])
        told = page.get(f"/api/pixel?id={largest['id']}&slow=70.5&fast=20.5").json
        assert told["value"] == frames.max(axis=0)[70, 20]


@pytest.mark.slow
def test_a_drawn_mask_is_saved_for_mask_file_in_raw_orientation_with_those_of_the_command_line(measured: Path) -> None:
    words = ("source.transform=[flipud]", "mask.file=data/own.npy", "mask=none", "save=masks")
    with served(measured, *WORDS[:2], *words) as page:
        shape = {"kind": "rectangle", "points": [[0, 0], [10, 20]]}
        view = {"shapes": [shape]}
        answer = page.view(**view, name="both")
        assert answer["masked"] == {"user": 10 * 20 + 10 * 20}
        assert any("data/own.npy" in note for note in answer["notes"])
        for form in ("npy", "edf"):
            content = {"view": view, "name": "both", "what": "mask", "format": form}
            saved = page.post("/api/save", content).json
            assert saved["written"] == [f"both.{form}"]
            mask = read_file(page.folder / "masks" / f"both.{form}")[0]
            expected = np.load(page.folder / "data" / "own.npy")
            expected[-10:, :20] = 1
            np.testing.assert_array_equal(mask, expected)
            assert f"mask.file=masks/both.{form}" in saved["next"]
        again = page.post("/api/save", content)
        assert (again.status, "both.edf" in again.json["error"]["message"]) == (409, True)
        assert page.post("/api/save", {**content, "overwrite": True}).status == 200
        written = (run_text(page.folder, answer["command"], "masked") / "ni_1.chi").read_text()
        assert written == as_written(answer, written)
        status, err = page.stop()
        assert (status, err.splitlines()[-1]) == (130, "xrdpipe: stopped")


@pytest.mark.slow
def test_a_wrong_value_gets_the_message_of_the_program_with_its_key(page: Page) -> None:
    for values, key, words in (
        ({"mask.alpha": -1}, "mask.alpha", "a number > 0 expected"),
        ({"mask.alhpa": 2}, "mask.alhpa", "did you mean 'mask.alpha'?"),
        ({"mask.alpha": "many"}, "mask.alpha", "expected"),
        ({"integ.unit": "furlong"}, "integ.unit", "no such radial unit"),
        ({"integ.radial_range": [500, 600]}, "integ.radial_range", "outside the detector"),
        ({"background.scale": "${oc.env:HOME}"}, "background.scale", "${oc.env:HOME}"),
        ({"mask.file": "/etc/passwd"}, "mask.file", "command line alone"),
        ({"integ.edges": "/etc/passwd"}, "integ.edges", "command line alone"),
        ({"integ.monitor": "/etc/x.csv:y"}, "integ.monitor", "command line alone"),
        ({"output.format": "xy"}, None, "allowed"),
    ):
        reply = page.post("/api/view", {"values": values})
        assert reply.status == 200
        error = reply.json["error"]
        assert reply.json["pattern"] is None
        assert (error["key"], words in error["message"]) == (key, True), error


def test_a_frame_that_cannot_be_read_says_so_and_the_others_go_on(page: Page) -> None:
    answer = page.post("/api/view", {"frame": 2}).json
    assert answer["error"]["message"]
    assert page.view(frame=3)["frame"] == HOSTILE
    assert "7 frames" not in page.post("/api/view", {"frame": 7}).json["error"]["message"]


def test_keys_come_from_the_schemas_with_values_of_the_command_line(page: Page) -> None:
    info = page.get("/api/info").json
    assert [group["name"] for group in info["groups"]] == ["background", "correction", "mask", "integ"]
    keys = {key["key"]: key for group in info["groups"] for key in group["keys"][group["choice"]]}
    alpha, unit, file = keys["mask.alpha"], keys["integ.npt"], keys["background.file"]
    assert (alpha["kind"], alpha["nullable"], alpha["default"]) == ("number", True, 2.0)
    assert (unit["kind"], unit["nullable"], unit["default"], unit["value"]) == ("integer", False, 1480, 100)
    assert (file["kind"], file["value"]) == ("file", "data/air.tiff")
    assert keys["mask.auto_type"]["choices"] == ["median", "mean", "mad", "sigma_clip"]
    assert keys["integ.error_model"]["nullable"]
    assert all(key["help"] for key in keys.values())
    strict = next(group for group in info["groups"] if group["name"] == "mask")["keys"]["strict"]
    assert {key["key"]: key["value"] for key in strict}["mask.alpha"] == 1.5
    assert info["frames"][3] == {"name": HOSTILE}


@pytest.mark.slow
def test_the_verdict_is_that_of_a_run_and_none_without_sigma(page: Page) -> None:
    assert page.view()["verdict"]["name"] == "none"
    good = page.view(values={"integ.error_model": "poisson"}, choices={"mask": "robust"})
    assert good["verdict"]["name"] in ("good", "check")
    wrong = page.view(values={"integ.error_model": "poisson", "background.scale": 3.0}, choices={"mask": "robust"})
    assert wrong["verdict"]["name"] == "check"
    assert "too much is subtracted" in wrong["verdict"]["text"]


@pytest.mark.slow
def test_two_views_are_compared_and_the_better_mask_is_named(page: Page) -> None:
    before, after = {"choices": {"mask": "none"}}, {"choices": {"mask": "robust"}}
    told = page.post("/api/compare", {"before": before, "after": after}).json
    first, second = page.view(**before), page.view(**after)
    assert (told["before"], told["after"]) == (first["id"], second["id"])
    expected = np.array(second["pattern"]["y"], float) - np.array(first["pattern"]["y"], float)
    np.testing.assert_array_equal(np.array(told["difference"], float), expected)
    assert told["verdict"]["name"] in ("after", "same")
    other = page.post("/api/compare", {"before": before, "after": {"values": {"integ.npt": 50}}}).json
    assert other["difference"] is None
    assert "different grids" in other["error"]


def test_a_picture_is_the_visible_part_at_the_resolution_of_the_screen(page: Page) -> None:
    from io import BytesIO

    from PIL import Image

    made = page.view()["id"]
    for layer in ("frame", "subtracted", "mask", "changes", "difference"):
        for scale in ("linear", "sqrt", "log", "percentile"):
            query = f"layer={layer}&scale={scale}&rows=-20,100&columns=0,60.5&width=55&height=44&before={made}"
            reply = page.get(f"/api/picture?id={made}&{query}")
            assert (reply.status, reply.headers["content-type"]) == (200, "image/png")
            low, high = map(float, reply.headers["x-range"].split(","))
            assert low < high
            picture = Image.open(BytesIO(reply.body)).convert("RGBA")
            assert picture.size == (55, 44)
            assert np.asarray(picture)[:7, :, 3].max() == 0
    cake = page.get(f"/api/cake?id={made}&width=30&height=20")
    assert Image.open(BytesIO(cake.body)).size == (30, 20)
    assert page.get("/api/picture?id=unknown").status == 410
    assert page.get(f"/api/picture?id={made}&width=100000").status == 400
    assert page.get(f"/api/picture?id={made}&rows=a,b").status == 400


def test_rings_of_a_calibrant_lie_on_the_rings_of_the_frame(page: Page) -> None:
    made = page.view()["id"]
    rings = page.get("/api/rings?phase=Ni").json["rings"]
    assert abs(rings[0]["d"] - 2.0345) < 1e-3
    assert rings[0]["hkl"] == ([1, 1, 1] if pyFAI.version_info >= (2025, 12) else None)
    for slow, fast in rings[0]["lines"][0][::10]:
        pixel = page.get(f"/api/pixel?id={made}&slow={slow}&fast={fast}").json
        assert abs(pixel["d"] - rings[0]["d"]) < 2e-3
    assert page.get("/api/rings?phase=Nickle").status == 400
    through = page.get("/api/rings?through=10,10;60,20").json["rings"]
    assert len(through) == 2


def test_a_file_that_changes_is_shown_as_it_is_now(page: Page) -> None:
    path = page.folder / "data" / "ni_2.tiff"
    before, content = page.view(frame=1), path.read_bytes()
    try:
        path.write_bytes((page.folder / "data" / "ni_1.tiff").read_bytes())
        now = page.view(frame=1)
        assert now["id"] == before["id"]
        assert now["pattern"]["y"] == page.view(frame=0)["pattern"]["y"]
        assert now["pattern"]["y"] != before["pattern"]["y"]
        pixel = [page.get(f"/api/pixel?id={page.view(frame=n)['id']}&slow=60.5&fast=20.5").json for n in (0, 1)]
        assert pixel[0] == pixel[1]
    finally:
        path.write_bytes(content)
    assert page.view(frame=1)["pattern"] == before["pattern"]
