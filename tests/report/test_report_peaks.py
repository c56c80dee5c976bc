"""Peaks and their harmonics in the page of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import Browser
from report_pages import _fabricated, _opened, _run

from xrdpipe.report.peaks import MOST, peaks_of_run
from xrdpipe.report.report import write_report

HEADER = "frame,T,peak,part,unit,position,position_error,fwhm,fwhm_error,area,area_error,fit\n"


def test_a_value_has_the_digits_of_its_error_and_a_fit_that_failed_says_why(tmp_path: Path) -> None:
    rows = ["a,300,1,,q_A^-1,3.0912345,0.00012,0.05,,1234.5,17,ok", "a,300,2,,q_A^-1,,,,,,,no peak"]
    (tmp_path / "peaks.csv").write_text(HEADER + "\n".join([*rows, "a,300,1,sector_0_90,q_A^-1,1,,,,,,ok"]) + "\n")
    (table,) = peaks_of_run(tmp_path)
    assert table["rows"] == [
        {"frame": "a", "T": "300", "peak": "1", "position": "3.09123 ± 0.00012", "fwhm": "0.05", "area": "1234 ± 17",
         "fit": "ok"},
        {"frame": "a", "T": "300", "peak": "2", "position": "", "fwhm": "", "area": "", "fit": "no peak"},
    ]  # fmt: skip
    assert table["figure"] is None


def test_a_long_table_is_cut_and_says_so_and_its_texts_are_no_markup(tmp_path: Path) -> None:
    folder = _fabricated(tmp_path / "run", ["a"])
    rows = [f"<b>{number}</b>,3,1,,q_A^-1,3,0.1,1,0.1,5,0.5,ok" for number in range(MOST + 5)]
    (folder / "peaks.csv").write_text(HEADER + "\n".join(rows) + "\n")
    page = write_report(folder).read_text(encoding="utf-8")
    assert f"The first {MOST} of {MOST + 5} rows; all are in peaks.csv." in page
    assert "&lt;b&gt;7&lt;/b&gt;" in page
    assert "<b>7</b>" not in page
    (folder / "peaks.csv").write_bytes(b"\xff\xfe\0,\0")
    assert "<h2>Peaks</h2>" not in write_report(folder).read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_run_with_peaks_and_harmonics_shows_tables_and_figures(
    measured: Path, tmp_path: Path, browser: Browser
) -> None:
    images = [measured / "ni_300K.tiff", measured / "ni_400K.tiff"]
    peaks = {"regions": [[2.9, 3.3]], "shape": "gaussian", "harmonics": 2}
    integ = ("sectors", {"npt": 300, "number": 12, "error_model": "poisson"})
    folder = _run(measured, images, tmp_path / "run", integ=integ, pattern={"peaks": peaks})
    _opened(browser, folder)
    titles = browser.texts("h2")
    assert titles.index("Peaks") + 1 == titles.index("Texture and strain")
    assert browser.texts("[aria-label=Peaks] tbody td:first-child") == ["ni_300K", "ni_400K"]
    assert "±" in browser.texts("[aria-label='Texture and strain'] td:nth-child(3)")[0]
    assert len(browser.all("img[alt$='over the series']")) == 2
