"""Reports as one reads them: in a real browser, from disk, without a network."""

from __future__ import annotations

import base64
import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Browser
from report_pages import _change, _fabricated, _opened

from xrdpipe import ConfigError
from xrdpipe.io.formats import read_pattern
from xrdpipe.report.report import write_report
from xrdpipe.stages.plot.preview import preview_png

LIMIT = 15e6  # bytes of a page


HIT = "<img src=x onerror=window.hit=1>"


HOSTILE = [
    "<script>window.hit=1<script>",
    "'\"><b onmouseover=window.hit=1>",
    "${window.hit=1}{{7*7}}%{x}`",
    "Grüße, 粉末 🧂",
    "two\nlines\ttab",
    "&lt;i&gt;&amp;",
    "\u2028\u2029\u202e",
    "__proto__",
    "a" * 180,
    HIT,
]


def _data(folder: Path) -> Any:
    """The JSON in a page."""
    text = write_report(folder).read_text(encoding="utf-8")
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


@pytest.mark.slow
def test_hostile_names_are_only_names(tmp_path: Path, browser: Browser) -> None:
    names = [*HOSTILE, *(f"plain {n}" for n in range(4))]
    folder = _fabricated(tmp_path / "run", names, metrics={HIT: 1.0}, columns={"</script>" + HIT: 2.0, "<b>": HIT})
    records = json.loads((folder / "run.json").read_text())["images"]
    bad = {"name": "x", "file": f"</script>{HIT}", "error": f"</td>{HIT}</script>", "status": "failed"}
    records += [records[0] | bad, records[0] | {"name": "../run/plain 1", "file": HIT}]
    values = {"command": [HIT, "</pre>"], "config": {HIT: {"a": HIT}}, "host": HIT, "versions": {HIT: HIT}}
    _change(folder, images=records, inputs={HIT: {"path": HIT, "hash": HIT}}, status=HIT, **values)
    (folder / "previews").mkdir()
    for name in (HIT, "plain 0"):
        preview = preview_png(np.ones((9, 9), np.float32), np.zeros((9, 9), np.uint8))
        (folder / "previews" / f"{name}.png").write_bytes(preview)
    _opened(browser, folder)
    assert browser.texts("#table tbody td:first-child") == [*names, "x", "../run/plain 1"]
    assert len(browser.all("img")) == 2
    assert len(browser.all("script")) == 3
    assert browser.run("return heat.data[0].z.length") == len(names)  # no file outside of the folder
    seen = ""
    for way in range(-160, 190, 28):
        browser.hover("#heat .nsewdrag", y=way)
        seen += "".join(browser.texts("#heat .hoverlayer text"))
    assert all(name in seen for name in (HIT, HOSTILE[0], HOSTILE[1], HOSTILE[2], HOSTILE[3], HOSTILE[5]))
    browser.hover("#drift .nsewdrag")
    labels = browser.texts("#waterfall .ytick text")
    assert HOSTILE[0][:10] in "".join(labels)
    assert "&lt;i&gt;&amp;" in labels
    assert browser.run("return window.hit") is None
    assert browser.problems() == []


@pytest.mark.slow
def test_hostile_sweeps_are_only_text(tmp_path: Path, browser: Browser) -> None:
    for job, value in enumerate((HIT, "</script>", "3")):
        folder = _fabricated(tmp_path / str(job), HOSTILE)
        _change(folder, job=job, command=[f"+{HIT}={value}", f"a.b={value}"], status="done")
    rows = [f"{job},{value},{value},done,1,{HIT}" for job, value in enumerate((HIT, "</script>", "3"))]
    rows.append(f"7,{HIT},,refused,,</td>{HIT}")
    (tmp_path / "sweep.csv").write_text("\n".join([f"job,{HIT.split('=')[0]},a.b,status,<b>,error", *rows]) + "\n")
    _opened(browser, tmp_path)
    assert not browser.all("img")
    assert len(browser.all("script")) == 3
    assert browser.texts("#table tbody td:nth-child(3)") == [HIT, "</script>", "3", ""]
    assert browser.run("return window.hit") is None


@pytest.mark.slow
def test_the_page_runs_no_script_but_its_own_and_uploads_nothing(few: Path, browser: Browser) -> None:
    _opened(browser, few)
    browser.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hit=1'}))")
    assert browser.run("return window.hit") is None
    assert any("Content Security Policy" in problem for problem in browser.problems())
    assert browser.texts(".modebar-btn") != []
    assert not [each for each in browser.all(".modebar-btn") if "hare" in (each.get_attribute("data-title") or "")]


@pytest.mark.slow
def test_five_thousand_frames_stay_below_15_megabytes(tmp_path: Path, browser: Browser) -> None:
    rng = np.random.default_rng(0)
    folder = _fabricated(tmp_path / "run", [f"a_rather_long_name_of_a_sample_{n:05}" for n in range(5000)], points=210)
    run = json.loads((folder / "run.json").read_text())
    for record in run["images"]:
        record["metrics"] = dict(zip("abcdefghijklmno", rng.random(15).tolist(), strict=True))
        record["columns"] = {"temperature": rng.random(), "monitor": rng.random()}
    _change(folder, images=run["images"])
    clock = time.monotonic()
    page = _opened(browser, folder)
    assert time.monotonic() - clock < 30
    assert page.stat().st_size < LIMIT
    assert any("of 5000 patterns one in 2 is drawn" in text for text in browser.texts(".caption"))
    assert len(browser.texts("#table tbody tr")) == 200
    browser.find("#after").click()
    assert "rows 201 to 400 of 5000" in browser.find("#count").text
    browser.press("#filter", "sample_04999")
    assert len(browser.texts("#table tbody tr")) == 1
    assert browser.problems() == []


def test_long_patterns_are_thinned_to_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xrdpipe.stages.plot.preview.VALUES", 100)
    monkeypatch.setattr("xrdpipe.stages.plot.preview.POINTS", 25)
    folder = _fabricated(tmp_path / "run", [f"f{n}" for n in range(9)])
    data = _data(folder)
    intensity = np.frombuffer(base64.b64decode(data["intensity"]), "<f4").reshape(-1, 25)
    assert data["shown"] == [0, 3, 6]
    chi = read_pattern(folder, "f3")
    assert chi is not None
    assert np.allclose(intensity[1], chi.intensity.reshape(25, 2).mean(axis=1))
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "of 9 patterns one in 3 is drawn and each point is the mean of 2 bins" in text


def test_a_bin_without_a_pixel_is_a_gap(tmp_path: Path) -> None:
    folder = _fabricated(tmp_path / "run", ["a", "b"])
    lines = (folder / "b.chi").read_text().splitlines(keepends=True)
    (folder / "b.chi").write_text("".join(lines[:10] + lines[13:]))
    intensity = np.frombuffer(base64.b64decode(_data(folder)["intensity"]), "<f4").reshape(2, -1)
    assert np.flatnonzero(np.isnan(intensity[1])).tolist() == [8, 9, 10]
    assert not np.isnan(intensity[0]).any()


def test_a_pattern_that_is_gone_or_spoilt_is_left_out(tmp_path: Path) -> None:
    folder = _fabricated(tmp_path / "run", list("abcdef"))
    (folder / "a.chi").unlink()
    (folder / "b.chi").write_text("")
    (folder / "c.chi").write_text("# q_A^-1 intensity\n1 2\nx y\n3 4\n")
    (folder / "d.chi").write_bytes(b"\x00\xff" * 99)
    assert _data(folder)["shown"] == [4, 5]


def test_numbers_that_are_none_are_left_empty(tmp_path: Path) -> None:
    folder = _fabricated(tmp_path / "run", ["a"], metrics={"x": float("nan"), "y": float("inf"), "z": 1 / 3})
    assert _data(folder)["table"]["rows"][0][3:6] == [None, None, 0.333333]


def test_the_same_folder_gives_the_same_page(few: Path) -> None:
    assert write_report(few).read_bytes() == write_report(few).read_bytes()
    assert not list(few.glob(".*part"))


def test_a_folder_of_neither_run_nor_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no run\.json and no sweep\.csv"):
        write_report(tmp_path)
    (tmp_path / "run.json").write_text('{"program": "other"}')
    with pytest.raises(ConfigError, match="of no run of xrdpipe"):
        write_report(tmp_path)
    (tmp_path / "sweep.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="of no sweep of xrdpipe"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()
