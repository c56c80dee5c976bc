"""Reports as one reads them: in a real browser, from disk, without a network."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from browser import Browser
from report_pages import _change, _fabricated, _opened, _run, _visible

from xrdpipe.io.formats import read_pattern
from xrdpipe.numerics import constants
from xrdpipe.stages.plot.preview import COLOURS, preview_png


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_intensity_is_logarithmic_on_demand(few: Path, browser: Browser) -> None:
    _opened(browser, few)
    browser.press("#scale", "l", "o")
    assert browser.run("return overlay.layout.yaxis.type") == "log"
    assert browser.problems() == []


@pytest.mark.slow
def test_the_command_line_goes_to_the_clipboard(few: Path, browser: Browser) -> None:
    _change(few, command=["poni=a b.poni", "integ.unit='q_A^-1'", "it's $1.tiff"])
    _opened(browser, few)
    browser.find("[data-copy=command]").click()
    browser.press("#filter", "\ue009v")  # Ctrl+V
    line = """xrdpipe 'poni=a b.poni' "integ.unit='q_A^-1'" 'it'"'"'s $1.tiff'"""
    assert browser.find("#filter").get_attribute("value") == line == browser.find("#command").text
    assert browser.problems() == []


@pytest.mark.slow
def test_settings_that_differ_from_the_defaults_stand_out(few: Path, browser: Browser) -> None:
    _opened(browser, few)
    assert browser.texts("mark") == ["5", "300", "null", "null"]
    assert "plot.image" in browser.texts("code")
    assert "mask.alpha" in browser.texts("details code")
    assert not browser.find("details table").is_displayed()


@pytest.mark.slow
def test_a_series_is_a_heat_map_and_a_waterfall_that_name_its_frames(many: Path, browser: Browser) -> None:
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


@pytest.mark.slow
def test_five_frames_are_a_series_and_four_are_not(tmp_path: Path, browser: Browser) -> None:
    _opened(browser, _fabricated(tmp_path / "five", list("abcde")))
    assert browser.run("return heat.data[0].z.length") == 5
    assert browser.run("return [heat.data[0].colorscale[20][0], heat.data[0].colorscale[40][0]]") == [0.25, 1]
    _opened(browser, _fabricated(tmp_path / "four", list("abcd")))
    assert not browser.all("#heat")


@pytest.mark.slow
def test_a_merged_pattern_is_shown_before_those_of_the_frames(
    measured: Path, few: Path, tmp_path: Path, browser: Browser
) -> None:
    images = [measured / f"ni_{kelvin}K.tiff" for kelvin in (300, 400)]
    folder = _run(measured, images, tmp_path / "run", integ=("multi", {"npt": 300, "radial_range": (2, 6)}))
    _opened(browser, folder)
    shown = browser.run("return [Array.from(merged.data[0].x), Array.from(merged.data[0].y)]")
    pattern = read_pattern(folder / "merged", "pattern")
    assert pattern is not None
    np.testing.assert_allclose(shown, [pattern.radial, pattern.intensity], rtol=1e-6)
    assert browser.texts("h2")[:2] == ["Merged pattern", "Patterns"]
    assert browser.problems() == []
    _opened(browser, few)
    assert not browser.all("#merged")


@pytest.mark.slow
def test_a_run_with_cakes_shows_them_frame_by_frame(measured: Path, tmp_path: Path, browser: Browser) -> None:
    images = sorted(measured.glob("ni_*.tiff"))[:6]
    folder = _run(measured, images, tmp_path / "run", integ=("cake", {"npt": 300, "npt_azim": 90}))
    (folder / "ni_360K_cake.npz").write_bytes(b"PK\x05\x06" + bytes(18))  # a file that is none
    _opened(browser, folder)
    assert browser.texts("#cake-frame option") == ["ni_300K", "ni_340K", "ni_400K"]
    browser.run("document.getElementById('cake-frame').value = 1")
    browser.run("document.getElementById('cake-frame').dispatchEvent(new Event('change'))")
    with np.load(folder / "ni_340K_cake.npz", allow_pickle=False) as cake:
        shown = browser.run("return cake.data[0].z.map(row => Array.from(row, value => isNaN(value) ? null : value))")
        assert np.allclose(np.array(shown, float), cake["intensity"], rtol=1e-5, equal_nan=True)
    browser.run("document.getElementById('cake-colours').value = 'log'")
    browser.run("document.getElementById('cake-colours').dispatchEvent(new Event('change'))")
    assert browser.run("return cake.data[0].colorscale[20][0]") < 0.04
    assert browser.problems() == []


@pytest.mark.slow
def test_a_run_with_sectors_shows_their_patterns(few: Path, measured: Path, tmp_path: Path, browser: Browser) -> None:
    images = [measured / "ni_300K.tiff", measured / "ni_400K.tiff"]
    sectors = {"npt": 300, "sectors": [[-30, 30], [60, 120]], "number": None}
    folder = _run(measured, images, tmp_path / "run", integ=("sectors", sectors))
    _opened(browser, folder)
    assert browser.texts("#sector-legend [aria-pressed]") == ["-30° to 30°", "60° to 120°"]
    assert len(browser.run("return document.getElementById('sector-plot').data")) == 2
    browser.find("#sector-legend button:nth-child(2)").click()
    assert browser.run("return document.getElementById('sector-plot').data[1].visible") is False
    assert browser.problems() == []
    _opened(browser, few)
    assert not browser.all("#sector-plot, #cake")


@pytest.mark.slow
def test_the_contrast_of_the_images_changes_and_the_mask_keeps_its_colours(many: Path, browser: Browser) -> None:
    _opened(browser, many)
    pixels = """
        const image = document.images[0], canvas = document.createElement('canvas');
        [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
        const context = canvas.getContext('2d');
        context.drawImage(image, 0, 0);
        return Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data);"""
    seen = {}
    for scale in ("sqrt", "linear", "log", "sqrt"):
        browser.run(f"contrast.value = '{scale}'; contrast.dispatchEvent(new Event('change'))")
        browser.run("return new Promise(done => setTimeout(done, 500))")
        seen[scale] = np.array(browser.run(pixels)).reshape(-1, 100, 4)[..., :3].astype(int)
    edge = list(bytes.fromhex(COLOURS["edge"][1:]))
    assert all(each[0, 0].tolist() == edge for each in seen.values())
    linear, root, log = (float(seen[scale][10:-10, 10:-10].mean()) for scale in ("linear", "sqrt", "log"))
    assert linear > root + 5 > log + 10  # darker where weak pixels are seen
    assert browser.problems() == []


@pytest.mark.slow
def test_what_drifts_is_drawn_over_the_series(many: Path, browser: Browser) -> None:
    _opened(browser, many)
    titles = [browser.run(f"return drift.layout.yaxis{n}.title.text") for n in ("", "2", "3", "4")]
    assert titles == ["total intensity", "masked (%)", "temperature", "monitor"]
    assert browser.run("return drift.data[2].y") == [None, *range(300, 540, 20)]


@pytest.mark.slow
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


@pytest.mark.slow
def test_pictures_of_chosen_frames_stand_with_the_reasons_of_their_masks(many: Path, browser: Browser) -> None:
    _opened(browser, many)
    assert browser.texts(".previews b") == ["ni_300K", "ni_420K", "ni_520K"]
    assert browser.run("return [...document.images].map(each => each.naturalWidth)") == [100, 100, 100]
    told = browser.texts(".previews figure:first-child li")
    assert [re.sub(r" [\d.]+ %", "", text) for text in told] == ["edge", "outlier"]


@pytest.mark.slow
def test_failures_are_named_with_their_reasons(many: Path, browser: Browser) -> None:
    _opened(browser, many)
    assert "12 of 13 frames done, 1 not" in browser.find("header").text
    assert any("broken.tiff" in row and "not an image" in row for row in browser.texts(".plain tr"))
    assert "broken" in browser.find("#table tr.failed").text


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_run_in_which_nothing_worked_has_a_page(measured: Path, tmp_path: Path, browser: Browser) -> None:
    _run(measured, [measured / "broken.tiff"], tmp_path / "run")
    _opened(browser, tmp_path / "run")
    assert not browser.all(".plot")
    assert "0 of 1 frames done" in browser.find("header").text


@pytest.mark.slow
def test_a_single_frame_needs_no_legend(tmp_path: Path, browser: Browser) -> None:
    _opened(browser, _fabricated(tmp_path / "run", ["a"]))
    assert browser.run("return overlay.data.length") == 1
    assert not browser.all("#legend button")
    assert not browser.all("#drift")
