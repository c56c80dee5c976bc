"""Shapes that were drawn and not saved outlive the tab and the program."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from command import LIMIT
from look_page import WORDS, Page, served

SHAPES = [{"kind": "circle", "points": [[60, 30]], "radius": 9}, {"kind": "rectangle", "points": [[1, 2], [30, 40]]}]
DRAWN = {"shapes": SHAPES, "name": "mine", "values": {"integ.npt": 55}}


def enter(page: Page, **known: Any) -> Any:
    return page.post("/api/tab", {"tab": None, "has_state": False, **known}).json


def keep(page: Page, tab: str, view: Any, unsaved: bool = True) -> int:
    return page.post("/api/keep", {"tab": tab, "view": view, "unsaved": unsaved}).status


@pytest.mark.slow
def test_shapes_that_were_not_saved_are_in_a_file_after_ctrl_c_and_in_the_next_page(measured: Path) -> None:
    words = (*WORDS[:2], "integ.npt=50", "save=kept")
    path = measured / "kept" / "unsaved.json"
    with served(measured, *words) as page:
        tab = enter(page)
        assert tab["view"] is None
        assert keep(page, tab["tab"], DRAWN) == 200
        assert not path.exists()
        status, err = page.stop()
        assert status == 130
        assert "2 shapes, kept in kept/unsaved.json" in err
        assert "shown last: xrdpipe poni=data/tiny.poni data/ni_1.tiff save" not in err
        assert "shown last: xrdpipe" in err
        assert "integ.npt=55" in err
    with served(measured, *words) as page:
        tab = enter(page)
        assert tab["view"] == {"shapes": SHAPES, "name": "mine"}
        assert page.view(**tab["view"])["masked"]["user"] > 0
        assert enter(page)["view"] is None  # another tab does not get the same shapes
        page.process.kill()  # they stay where they are
        page.process.wait(LIMIT)
    with served(measured, *words) as page:
        tab = enter(page)
        assert tab["view"] == {"shapes": SHAPES, "name": "mine"}
        keep(page, tab["tab"], tab["view"], unsaved=False)  # saved, or removed
        page.process.send_signal(signal.SIGINT)
        page.process.wait(LIMIT)
    assert not path.exists()


@pytest.mark.slow
def test_a_file_that_holds_no_shapes_for_these_frames_stays_as_it_is(measured: Path) -> None:
    folder = measured / "other"
    folder.mkdir()
    bad = {"shape": [120, 100], "views": [{"shapes": [{"kind": "circle", "points": "x" * 9}]}]}
    texts = {
        "unsaved.json": '{"shape": [9, 9], "views": []}',
        "unsaved1.json": json.dumps(bad),
        "unsaved2.json": "[" * 9,
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    with served(measured, *WORDS[:2], "save=other") as page:
        tab = enter(page)
        assert tab["view"] is None
        keep(page, tab["tab"], DRAWN)
        _, err = page.stop()
    assert {path.name: path.read_text() for path in folder.iterdir() if path.name in texts} == texts
    assert "2 shapes, kept in other/unsaved3.json" in err
    assert json.loads((folder / "unsaved3.json").read_text())["views"] == [DRAWN]


def test_a_view_is_kept_for_a_tab_of_the_page_alone(page: Page) -> None:
    tab = enter(page)["tab"]
    assert keep(page, "another", DRAWN) == 400
    assert keep(page, tab, {"shapes": "all"}) == 400
    assert page.post("/api/keep", {"tab": [], "view": {}}).status == 400
    assert page.post("/api/tab", {"tab": {}, "has_state": "yes"}).json["view"] is None
    assert enter(page, tab=tab, has_state=True) == {"tab": tab, "view": None}
