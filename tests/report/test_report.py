"""Reports as one reads them: in a real browser, from disk, without a network."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from browser import Browser, chromium
from command import call
from PIL import Image

from xrdpipe import ConfigError, integrate
from xrdpipe.io.formats import read_pattern
from xrdpipe.numerics import constants
from xrdpipe.numerics.outliers import GROWN
from xrdpipe.report.report import write_report
from xrdpipe.stages.plot.preview import COLOURS, SIDE, preview_png
from xrdpipe.stages.simulation import Simulation

SMALL = Simulation(shape=(120, 100), pixel=(1e-3, 1e-3), dist=0.5, poni=(0.504, 0.493), counts=2000.0, lines=0)
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the frames of a temperature series, an image that is none, and their geometry."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "tiny.poni").write_text(SMALL.poni_text(), encoding="utf-8")
    for number, kelvin in enumerate(range(300, 540, 20)):
        tifffile.imwrite(folder / f"ni_{kelvin}K.tiff", SMALL.frame(number, kelvin))
    (folder / "broken.tiff").write_bytes(b"II*\0")
    return folder


@pytest.fixture(scope="module")
def few(measured: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of three frames."""
    images = [measured / f"ni_{kelvin}K.tiff" for kelvin in (300, 400, 500)]
    return _run(measured, images, tmp_path_factory.mktemp("few") / "run")


@pytest.fixture(scope="module")
def many(measured: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of twelve frames and one that failed, with metrics, columns and previews."""
    images = sorted(measured.glob("*.tiff"))
    folder = _run(measured, images, tmp_path_factory.mktemp("many") / "run", output={"mask": True})
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    rng = np.random.default_rng(0)
    for record in (record for record in run["images"] if record["status"] == "done"):
        mask = np.load(folder / "masks" / f"{record['name']}.npy") * constants.OUTLIER
        mask[:5], mask[-5:], mask[:, :5], mask[:, -5:] = (constants.EDGE,) * 4
        share = {reason: float(np.mean(mask == 1 << bit)) for bit, reason in enumerate(COLOURS)}
        record["metrics"] = {
            "masked_fraction": record["masked_fraction"],
            **{f"masked_{reason}": part for reason, part in share.items()},
            "negative_bins": int(rng.integers(4)), "empty_bins": 0, "sigma_over_intensity": rng.uniform(0.01, 0.02),
            "ring_scatter": rng.uniform(0.02, 0.03), "spottiness": rng.uniform(1, 1.2),
            "total_intensity": rng.normal(1e8, 1e6), "signal_to_background": float("nan"), "peak_width": 0.085,
        }  # fmt: skip
        record["steps"] = {"read": 0.001, "mask": 0.004, "integ": rng.uniform(0.002, 0.003)}
        record["columns"] = {"temperature": float(record["name"][3:6]), "monitor": rng.normal(5e5, 5e3), "note": "ok"}
        if record["name"] in ("ni_300K", "ni_420K", "ni_520K"):
            image = tifffile.imread(record["path"]).astype(np.float32)
            (folder / "previews").mkdir(exist_ok=True)
            (folder / "previews" / f"{record['name']}.png").write_bytes(preview_png(image, mask))
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def swept(measured: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep of six jobs, two of them refused; its table in the order of the jobs, without ranks."""
    folder = tmp_path_factory.mktemp("sweep") / "out"
    words = [f"poni={measured / 'tiny.poni'}", measured / "ni_300K.tiff", measured / "ni_400K.tiff", "mask.edge=5"]
    varied = ["mask.alpha=1.5,3,-1", "integ.npt=200,300"]
    told = call("-m", *words, *varied, "plot=none", "quiet=true", "report=false", f"output_dir={folder}")
    assert told.status == 1
    columns = ["job", "mask.alpha", "integ.npt", "status", "done", "failed", "masked_fraction", "seconds", "error"]
    with (folder / "sweep.csv").open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["job"]))
    with (folder / "sweep.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return folder


def _run(measured: Path, images: list[Path], folder: Path, **keys: Any) -> Path:
    settings = {"mask": {"edge": 5}, "integ": {"npt": 300}, "plot": "none", "quiet": True, "report": False, **keys}
    integrate(measured / "tiny.poni", *images, output_dir=folder, **settings)
    return folder


def _fabricated(folder: Path, names: list[str], points: int = 50, **record: Any) -> Path:
    """The folder of a run as it might be, without running it."""
    folder.mkdir()
    bins = np.linspace(0.5, 10, points)
    peaks = [100 + 10 * way + 900 * np.exp(-((bins - 3 - way / 10) ** 2) / 0.01) for way in range(10)]
    rows = ["".join("{:.6e} {:.6e}\n".format(*each) for each in zip(bins, peak, strict=True)) for peak in peaks]
    for number, name in enumerate(names):
        text = f"# image: {' '.join(name.splitlines())}\n# q_A^-1 intensity\n{rows[number % 10]}"
        (folder / f"{name}.chi").write_text(text, encoding="utf-8")
    records = [
        {"file": f"{name}.tiff", "name": name, "status": "done", "masked_fraction": 0.1, "seconds": 0.01, "error": "",
         "hash": f"xxh128:{number:032x}", "notes": [], **record}
        for number, name in enumerate(names)
    ]  # fmt: skip
    run = {"program": "xrdpipe", "status": "done", "command": ["mask=strict"], "config": {}, "images": records}
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return folder


def _change(folder: Path, **values: Any) -> None:
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    (folder / "run.json").write_text(json.dumps(run | values), encoding="utf-8")
    (folder / "report.html").unlink(missing_ok=True)


def _opened(browser: Browser, folder: Path) -> Path:
    """Make the report, where it is not made yet, and open it; it must neither complain nor ask for more than itself."""
    page = folder / "report.html"
    if not page.exists():
        assert write_report(folder) == page
    browser.open(page)
    assert browser.problems() == []
    assert browser.requests() == [page.resolve().as_uri()]
    return page


def _data(folder: Path) -> Any:
    """The JSON in a page."""
    text = write_report(folder).read_text(encoding="utf-8")
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def _visible(browser: Browser, plot: str = "overlay") -> list[bool]:
    return [each is not False for each in browser.run(f"return {plot}.data.map(each => each.visible)")]


# ---------------------------------------------------------------------------------------------------------------- run


@pytest.mark.slow
def test_a_run_of_a_few_frames_shows_them_over_one_another(few: Path, browser: Browser) -> None:
    _opened(browser, few)
    assert browser.texts("#legend [aria-pressed]") == ["ni_300K", "ni_400K", "ni_500K"]
    assert browser.run("return overlay.data.map(each => each.name)") == ["ni_300K", "ni_400K", "ni_500K"]
    assert not browser.all("#heat, #waterfall")
    chi = read_pattern(few, "ni_400K")
    assert chi is not None
    shown = browser.run("return Array.from(overlay.data[1].y)")
    assert np.allclose(shown, chi.intensity, rtol=1e-6)
    assert "3 of 3 frames done" in browser.find("header").text


def test_names_in_the_legend_hide_curves_by_mouse_and_keyboard(few: Path, browser: Browser) -> None:
    _opened(browser, few)
    browser.find("#legend button:nth-child(2)").click()
    assert _visible(browser) == [True, False, True]
    assert browser.find("#legend button:nth-child(2)").get_attribute("aria-pressed") == "false"
    browser.press("#legend button:nth-child(1)", " ")
    assert _visible(browser) == [False, False, True]
    browser.press("#legend .all", "\n")
    assert _visible(browser) == [True, True, True]
    browser.double_click("#legend button:nth-child(3)")
    assert _visible(browser) == [False, False, True]
    assert browser.problems() == []


def test_a_plot_is_zoomed_and_moved_by_the_keyboard(few: Path, browser: Browser) -> None:
    _opened(browser, few)
    whole = browser.run("return overlay.layout.xaxis.range")
    browser.press("#overlay", "+")
    low, high = browser.run("return overlay.layout.xaxis.range")
    assert whole[0] < low < high < whole[1]
    browser.press("#overlay", "\ue014")  # right
    assert browser.run("return overlay.layout.xaxis.range")[0] > low
    browser.press("#overlay", "0")
    assert browser.run("return overlay.layout.xaxis.range") == pytest.approx(whole)


def test_the_intensity_is_logarithmic_on_demand(few: Path, browser: Browser) -> None:
    _opened(browser, few)
    browser.press("#scale", "l", "o")
    assert browser.run("return overlay.layout.yaxis.type") == "log"
    assert browser.problems() == []


def test_the_command_line_goes_to_the_clipboard(few: Path, browser: Browser) -> None:
    _change(few, command=["poni=a b.poni", "integ.unit='q_A^-1'", "it's $1.tiff"])
    _opened(browser, few)
    browser.find("[data-copy=command]").click()
    browser.press("#filter", "\ue009v")  # Ctrl+V
    line = """xrdpipe 'poni=a b.poni' "integ.unit='q_A^-1'" 'it'"'"'s $1.tiff'"""
    assert browser.find("#filter").get_attribute("value") == line == browser.find("#command").text
    assert browser.problems() == []


def test_settings_that_differ_from_the_defaults_stand_out(few: Path, browser: Browser) -> None:
    _opened(browser, few)
    assert browser.texts("mark") == ["5", "300", "null", "null"]
    assert "plot.image" in browser.texts("code")
    assert "mask.alpha" in browser.texts("details code")
    assert not browser.find("details table").is_displayed()


def test_ten_frames_and_more_are_a_heat_map_and_a_waterfall_that_name_them(many: Path, browser: Browser) -> None:
    _opened(browser, many)
    assert browser.run("return [heat.data[0].z.length, waterfall.data.length]") == [12, 12]
    assert not browser.all("#overlay")
    browser.hover("#heat .nsewdrag")
    assert re.search(r"ni_4[02]0K", "".join(browser.texts("#heat .hoverlayer text")))
    browser.run("offset.value = 0; offset.dispatchEvent(new Event('input'))")
    browser.hover("#waterfall .nsewdrag", x=-220)
    browser.run("offset.value = 50; offset.dispatchEvent(new Event('input'))")
    assert browser.run("return waterfall.data[3].name") == "ni_360K"
    browser.run("label.value = 'temperature'; label.dispatchEvent(new Event('change'))")
    assert browser.run("return waterfall.layout.yaxis.ticktext.slice(0, 2)") == ["300", "320"]
    assert browser.problems() == []


def test_what_drifts_is_drawn_over_the_series(many: Path, browser: Browser) -> None:
    _opened(browser, many)
    titles = [browser.run(f"return drift.layout.yaxis{n}.title.text") for n in ("", "2", "3", "4")]
    assert titles == ["total intensity", "masked (%)", "temperature", "monitor"]
    assert browser.run("return drift.data[2].y") == [None, *range(300, 540, 20)]


def test_the_table_sorts_by_click_and_by_key_and_filters(many: Path, browser: Browser) -> None:
    _opened(browser, many)
    names = [f"ni_{kelvin}K" for kelvin in range(300, 540, 20)]
    assert browser.texts("#table tbody td:first-child") == ["broken", *names]
    heads = browser.texts("#table th")
    at = heads.index("temperature") + 1
    browser.find(f"#table th:nth-child({at}) button").click()
    assert browser.find(f"#table th:nth-child({at})").get_attribute("aria-sort") == "ascending"
    assert browser.texts("#table tbody td:first-child") == [*names, "broken"]
    browser.press(f"#table th:nth-child({at}) button", "\n")
    assert browser.find(f"#table th:nth-child({at})").get_attribute("aria-sort") == "descending"
    assert browser.texts("#table tbody td:first-child") == [*reversed(names), "broken"]
    browser.press(f"#table th:nth-child({at}) button", " ")
    assert browser.find(f"#table th:nth-child({at})").get_attribute("aria-sort") == "none"
    browser.press("#filter", "DONE ni_42")
    assert browser.texts("#table tbody td:first-child")[0] == "ni_420K"
    assert "found among 13" in browser.find("#count").text
    browser.press("#filter", "nothing like it")
    assert browser.texts("#table tbody tr") == []


def test_pictures_of_chosen_frames_stand_with_the_reasons_of_their_masks(many: Path, browser: Browser) -> None:
    _opened(browser, many)
    assert browser.texts(".previews b") == ["ni_300K", "ni_420K", "ni_520K"]
    assert browser.run("return [...document.images].map(each => each.naturalWidth)") == [100, 100, 100]
    told = browser.texts(".previews figure:first-child li")
    assert [re.sub(r" [\d.]+ %", "", text) for text in told] == ["edge", "outlier"]


def test_failures_are_named_with_their_reasons(many: Path, browser: Browser) -> None:
    _opened(browser, many)
    assert "12 of 13 frames done, 1 not" in browser.find("header").text
    assert any("broken.tiff" in row and "not an image" in row for row in browser.texts(".plain tr"))
    assert "broken" in browser.find("#table tr.failed").text


def test_on_paper_every_plot_fits_the_page_and_the_controls_are_gone(many: Path, browser: Browser) -> None:
    _opened(browser, many)
    browser.run("dispatchEvent(new Event('beforeprint'))")
    widths = browser.run("return [...document.querySelectorAll('.plot .main-svg')].map(each => each.clientWidth)")
    assert set(widths) == {690}
    browser.run("dispatchEvent(new Event('afterprint'))")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not browser.find("#filter").is_displayed()
    assert not browser.find(".copyable button").is_displayed()
    assert browser.find("#heat").is_displayed()
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert browser.pdf().startswith(b"%PDF")
    assert browser.problems() == []


def test_a_run_in_which_nothing_worked_has_a_page(measured: Path, tmp_path: Path, browser: Browser) -> None:
    _run(measured, [measured / "broken.tiff"], tmp_path / "run")
    _opened(browser, tmp_path / "run")
    assert not browser.all(".plot")
    assert "0 of 1 frames done" in browser.find("header").text


def test_a_single_frame_needs_no_legend(tmp_path: Path, browser: Browser) -> None:
    _opened(browser, _fabricated(tmp_path / "run", ["a"]))
    assert browser.run("return overlay.data.length") == 1
    assert not browser.all("#legend button")
    assert not browser.all("#drift")


# -------------------------------------------------------------------------------------------------------------- sweep


@pytest.mark.slow
def test_a_sweep_lays_its_patterns_over_one_another_by_what_varied(swept: Path, browser: Browser) -> None:
    _opened(browser, swept)
    labels = [f"mask.alpha={alpha}, integ.npt={npt}" for alpha in ("1.5", "3") for npt in ("200", "300")]
    assert browser.texts("#legend [aria-pressed]") == labels
    styles = browser.run("return overlay.data.map(each => [each.line.color, each.line.dash])")
    assert styles[0][0] == styles[1][0] != styles[2][0] == styles[3][0]
    assert styles[0][1] == styles[2][1] != styles[1][1] == styles[3][1]
    assert browser.run("return Array.from(difference.data[0].customdata).every(each => each === 0)")
    assert browser.run("return Array.from(difference.data[2].customdata).some(each => Math.abs(each) > 0.1)")
    assert browser.texts("#panels .xtitle") == ["mask.alpha", "integ.npt"]
    assert "job 0" in browser.find("header").text
    browser.find("#legend button").click()
    assert _visible(browser) == _visible(browser, "difference") == [False, True, True, True]


def test_a_ranked_sweep_names_the_best_and_compares_with_it(swept: Path, tmp_path: Path, browser: Browser) -> None:
    ranked = shutil.copytree(swept, tmp_path / "ranked", ignore=shutil.ignore_patterns("report.html"))
    lines = (ranked / "sweep.csv").read_text(encoding="utf-8").splitlines()
    ranks = ["rank", "3", "2", "1", "4", "", ""]
    (ranked / "sweep.csv").write_text("\n".join(f"{r},{line}" for r, line in zip(ranks, lines, strict=True)) + "\n")
    write_report(ranked / "2")
    _opened(browser, ranked)
    assert browser.texts("header mark") == ["mask.alpha=3, integ.npt=200"]
    command = browser.find("#command").text
    assert "mask.alpha=3" in command
    assert "ni_400K.tiff" in command
    assert "output_dir" not in command
    assert browser.texts("#table tbody td:nth-child(2)") == ["2", "1", "0", "3", "4", "5"]
    assert browser.run("return overlay.data[0].name") == "mask.alpha=3, integ.npt=200"
    assert browser.run("return Array.from(difference.data[0].customdata).every(each => each === 0)")
    assert browser.find("#table tr.best").text.startswith("1 2 3 200")
    browser.find("#table tbody a").click()
    assert browser.driver.current_url == (ranked / "2" / "report.html").as_uri()


def test_jobs_that_were_refused_are_listed_with_their_reason(swept: Path, browser: Browser) -> None:
    _opened(browser, swept)
    assert "4 of 6 jobs done, 2 not" in browser.find("header").text
    assert any("mask.alpha=-1" in row and "a number > 0 expected" in row for row in browser.texts(".plain tr"))


def test_metrics_of_jobs_stand_against_what_varied(swept: Path, browser: Browser) -> None:
    _opened(browser, swept)
    assert browser.texts("#metric option") == ["masked (%)", "seconds"]
    shown = browser.run("return document.querySelector('#panels .plot').data[1]")
    assert shown["x"] == [1.5, 1.5, 3, 3]
    assert None not in shown["y"]
    browser.press("#metric", "s")
    assert browser.texts("#panels .ytitle") == ["seconds"]


# ------------------------------------------------------------------------------------------------------ what may come


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


def test_the_page_runs_no_script_but_its_own_and_uploads_nothing(few: Path, browser: Browser) -> None:
    _opened(browser, few)
    browser.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hit=1'}))")
    assert browser.run("return window.hit") is None
    assert any("Content Security Policy" in problem for problem in browser.problems())
    assert browser.texts(".modebar-btn") != []
    assert not [each for each in browser.all(".modebar-btn") if "hare" in (each.get_attribute("data-title") or "")]


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


# ------------------------------------------------------------------------------------------------------------ preview


def _pixels(png: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_every_reason_has_its_colour_in_the_order_of_the_bits() -> None:
    bits = [constants.USER, constants.DETECTOR, constants.EDGE, constants.LOWER, constants.UPPER, constants.OUTLIER]
    mask = np.repeat(np.array([*bits, constants.NOT_FINITE, GROWN, 0], np.uint8), 10)[None].repeat(20, axis=0)
    pixels = _pixels(preview_png(np.ones(mask.shape, np.float32), mask))
    found = [bytes(pixels[10, 5 + 10 * n]).hex() for n in range(8)]
    assert [f"#{each}" for each in found] == list(COLOURS.values())
    assert pixels[10, 85].tolist() == [255, 255, 255]


def test_a_picture_keeps_the_way_up_and_the_proportions_of_its_image() -> None:
    image = np.zeros((1000, 700), np.float32)
    image[:100] = 1000
    pixels = _pixels(preview_png(image, np.zeros(image.shape, np.uint8)))
    assert pixels.shape == (250, 175, 3)
    assert max(pixels.shape) <= SIDE
    assert pixels[5, 50].max() < 60
    assert pixels[200, 50].min() > 200


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 2), (301, 299)])
def test_an_image_of_any_shape_has_a_picture(shape: tuple[int, int]) -> None:
    image = np.full(shape, np.nan, np.float32)
    assert _pixels(preview_png(image, np.full(shape, constants.NOT_FINITE))).size
    assert _pixels(preview_png(image, np.zeros(shape, np.uint8))).size


def test_a_few_masked_pixels_among_many_keep_their_colour() -> None:
    rng = np.random.default_rng(0)
    mask = np.where(rng.random((2000, 2000)) < 0.045, constants.OUTLIER, np.uint8(0))
    mask[700:714, 700:714] = constants.USER
    pixels = _pixels(preview_png(rng.poisson(50, mask.shape).astype(np.float32), mask))
    assert bytes(pixels[101, 101]).hex() == COLOURS["user"][1:]
