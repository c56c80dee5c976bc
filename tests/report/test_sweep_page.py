"""Reports as one reads them: in a real browser, from disk, without a network."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from browser import Browser
from command import call
from report_pages import _opened, _visible

from xrdpipe.report.report import write_report


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_jobs_that_were_refused_are_listed_with_their_reason(swept: Path, browser: Browser) -> None:
    _opened(browser, swept)
    assert "4 of 6 jobs done, 2 not" in browser.find("header").text
    assert any("mask.alpha=-1" in row and "a number > 0 expected" in row for row in browser.texts(".plain tr"))


@pytest.mark.slow
def test_metrics_of_jobs_stand_against_what_varied(swept: Path, browser: Browser) -> None:
    _opened(browser, swept)
    assert browser.texts("#metric option") == ["masked (%)", "seconds"]
    shown = browser.run("return document.querySelector('#panels .plot').data[1]")
    assert shown["x"] == [1.5, 1.5, 3, 3]
    assert None not in shown["y"]
    browser.press("#metric", "s")
    assert browser.texts("#panels .ytitle") == ["seconds"]
