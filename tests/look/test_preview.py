"""A preview comes before the exact pattern and is near it; what settings share changes no byte."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from look_page import Page

from xrdpipe.geometry.geometry import Geometry
from xrdpipe.geometry.poni import Poni
from xrdpipe.stages.integ.integ import Integ


@pytest.mark.parametrize(
    "view",
    [
        {"values": {"integ.npt": 41}},
        {"values": {"integ.unit": "2th_deg", "integ.npt": 42}},
        {"values": {"integ.radial_range": [1, 5], "integ.npt": 43, "integ.azimuth_range": [100, 200]}},
        {"values": {"integ.polarization_factor": 0.5, "integ.correctSolidAngle": True, "integ.npt": 44}},
        {"choices": {"integ": "cake"}, "values": {"integ.npt": 45, "integ.npt_azim": 36}},
        {"choices": {"integ": "sectors"}, "values": {"integ.npt": 46}},
        {"choices": {"integ": "median"}, "values": {"integ.npt": 47}},
        {"values": {"integ.edges": [1, 1.5, 2.5, 4]}},
        {"values": {"integ.error_model": "poisson", "integ.npt": 48}},
    ],
)
def test_new_bins_and_corrections_are_previewed_near_the_exact_pattern_that_follows(
    page: Page, view: dict[str, Any]
) -> None:
    quick = page.post("/api/view?quick=1", view).json
    assert (quick["error"], quick["exact"]) == (None, False)
    assert "preview" in quick["verdict"]["text"]
    exact = page.view(**view)
    assert exact["exact"] is True
    assert quick["id"] == exact["id"]
    assert quick["masked"] == exact["masked"]
    assert quick["sectors"].keys() == exact["sectors"].keys()
    assert (quick["cake"] is None) == (exact["cake"] is None)
    assert quick["pattern"]["label"] == exact["pattern"]["label"]
    one, other = (np.array(each["pattern"]["y"], float) for each in (quick, exact))
    assert one.shape == other.shape
    # Coarse bins of a small frame differ at the flanks of peaks; the sums over the whole agree.
    assert np.nanmean(one) == pytest.approx(np.nanmean(other), rel=0.1)
    again = page.post("/api/view?quick=1", view).json
    assert (again["exact"], again["pattern"]) == (True, exact["pattern"])


def test_a_preview_of_what_a_run_refuses_is_the_message_of_the_run(page: Page) -> None:
    error = page.post("/api/view?quick=1", {"values": {"integ.radial_range": [500, 600]}}).json["error"]
    assert error["key"] == "integ.radial_range"
    assert "outside the detector" in error["message"]


def test_a_cake_on_demand_is_a_preview_first(page: Page) -> None:
    made = page.view(values={"integ.unit": "r_mm"})["id"]
    replies = [page.get(f"/api/cake?id={made}&width=90&height=60{more}") for more in ("&quick=1", "", "&quick=1")]
    assert [reply.headers["x-exact"] for reply in replies] == ["0", "1", "1"]


@pytest.mark.slow
def test_what_settings_share_changes_no_byte_of_the_arrays_of_an_integration(measured: Path) -> None:
    geometry = Geometry(Poni.read(str(measured / "data" / "tiny.poni")), (120, 100))
    shared = replace(geometry, interactive=True)
    for keys in (
        {"npt": 60},
        {"npt": 60, "polarization_factor": 0.9},
        {"npt": 60, "correctSolidAngle": True, "azimuth_range": [0, 90]},
        {"npt": 80, "correctSolidAngle": True},
        {"npt": 80, "radial_range": [1, 4]},
        {"npt": 80, "unit": "2th_deg", "polarization_factor": 0.5},
        {"npt": 60, "method": ["bbox", "csr", "cython"]},
        {"npt": 60},
    ):
        integ = Integ(**keys)  # type: ignore[arg-type]
        one, other = integ._make_arrays(geometry), integ._make_arrays(shared)
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=f"{keys} {name}")
