"""Stages have moved: configurations and records that name them where they were still work, with a note."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from command import FAST, call, results

from xrdpipe.config.loader import conf_dir
from xrdpipe.config.schema import build
from xrdpipe.config.targets import MOVED, current_target, recorded_target, recorded_values

WORDS = ("poni=data/tiny.poni", "images=data/ni_*.tiff", *FAST, "output.mask=true")


@pytest.fixture
def here(data: Path, poni: Path, frames: list[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(data.parent)
    return data.parent


@pytest.mark.parametrize("old", MOVED)
def test_every_old_name_is_the_class_of_today(old: str) -> None:
    required = {"number": 8} if old.endswith("Sectors") else {}
    stage = build({"_target_": old, **required}, "mask")
    cls = type(stage)
    assert f"{cls.__module__}.{cls.__qualname__}" == current_target(old) == MOVED[old]
    assert recorded_target(MOVED[old]) == old


def test_every_shipped_option_names_its_class_where_it_is_today() -> None:
    targets = {
        path: values["_target_"]
        for path in conf_dir().rglob("*.yaml")
        if isinstance(values := yaml.safe_load(path.read_text()), dict) and "_target_" in values
    }
    ours = {path: target for path, target in targets.items() if target.startswith("xrdpipe.")}
    assert ours
    never_moved = {
        "xrdpipe.stages.integ.multi.Multi",
        "xrdpipe.stages.live.source_stream.Stream",
        "xrdpipe.stages.live.source_tiled.Tiled",
        "xrdpipe.stages.mask.SeriesMask",
        "xrdpipe.stages.pattern.pattern.AfterIntegration",
        "xrdpipe.stages.integ.units.Units",
    }
    assert set(ours.values()) <= set(MOVED.values()) | never_moved


def test_an_option_with_an_old_name_gives_the_same_bytes_and_one_line(here: Path) -> None:
    option = here / "my_conf" / "mask" / "mine.yaml"
    option.parent.mkdir(parents=True)
    for name, target in {"old": "xrdpipe.mask.Mask", "new": "xrdpipe.stages.mask.Mask"}.items():
        option.write_text(f"_target_: {target}\nalpha: 3.0\n")
        told = call("--config-dir", here / "my_conf", *WORDS, "mask=mine", f"output_dir={name}")
        assert told.status == 0, told
        notes = [line for line in told.err.splitlines() if "_target_" in line]
        expected = (
            "mask._target_=xrdpipe.mask.Mask: the class is xrdpipe.stages.mask.Mask now; the old name still works"
        )
        assert notes == ([f"xrdpipe: {expected}"] if name == "old" else [])
    assert len(results(here / "old")) == 6
    assert results(here / "old") == results(here / "new")
    old, new = (json.loads((here / name / "run.json").read_text())["identity"] for name in ("old", "new"))
    assert old == new


def test_a_folder_of_a_record_with_old_names_is_resumed_and_replayed(here: Path) -> None:
    assert call(*WORDS, "output_dir=out").status == 0
    record = here / "out" / "run.json"
    values = json.loads(record.read_text())
    for group in values["config"].values():
        if isinstance(group, dict) and "_target_" in group:
            group["_target_"] = recorded_target(group["_target_"])
    assert values["config"]["mask"]["_target_"] == "xrdpipe.mask.Mask"
    record.write_text(json.dumps(values))
    told = call("replay", "out")
    assert (told.status, "identical" in told.out) == (0, True), told
    before = results(here / "out")
    told = call(*WORDS, "output_dir=out", "resume=true")
    assert (told.status, "3 of 3 images were done before" in told.err) == (0, True), told
    assert results(here / "out") == before


def test_keys_that_a_stage_gained_are_recorded_only_where_they_are_set() -> None:
    mask = "xrdpipe.stages.mask.Mask"
    assert recorded_values(mask, {"edge": 3, "regions": False}) == {"_target_": "xrdpipe.mask.Mask", "edge": 3}
    assert recorded_values(mask, {"edge": 3, "regions": True})["regions"] is True
