"""Every YAML file that is shipped: builds, complete, every key explained."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from xrdpipe.cli.help import GROUPS
from xrdpipe.config.loader import Loader, conf_dir, to_builtin
from xrdpipe.config.schema import build, validated
from xrdpipe.config.settings import Parallel, Settings, Sweep, parse_settings
from xrdpipe.geometry.calibration import Calibration
from xrdpipe.pipeline.pipeline import Pipeline
from xrdpipe.stages.source import Source
from xrdpipe.stages.stage import Stage

FILES = sorted(path for group in GROUPS for path in (conf_dir() / group).glob("*.yaml"))
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")


def stage_of(path: Path) -> Any:
    values = yaml.safe_load(path.read_text())
    if path.parent.name in ("parallel", "sweep", "geometry"):
        schema = {"parallel": Parallel, "sweep": Sweep, "geometry": Calibration}[path.parent.name]
        return validated(schema, values, path.parent.name)
    return build(values, path.parent.name, Source if path.parent.name == "source" else Stage)


def composed(*overrides: str) -> dict[str, Any]:
    return to_builtin(Loader().compose(list(overrides)))


@each_file
def test_every_option_builds_alone_and_in_the_pipeline(path: Path) -> None:
    stage_of(path)
    top, groups = parse_settings(composed(f"{path.parent.name}={path.stem}"))
    Pipeline.of(groups, top.stages)


@each_file
def test_every_option_lists_every_key_of_its_class(path: Path) -> None:
    fields = {field.name for field in dataclasses.fields(stage_of(path))}
    assert set(yaml.safe_load(path.read_text())) - {"_target_"} == fields


@each_file
def test_every_file_begins_with_a_title_and_every_key_has_words(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ")
    for line in lines[1:]:
        if line.strip() and not line.startswith("_target_"):
            assert len(line.partition(" #")[2].split()) >= 2, line


@pytest.mark.parametrize("group", GROUPS)
def test_the_default_option_holds_the_defaults_of_the_class(group: str) -> None:
    path = conf_dir() / group / "default.yaml"
    if group == "plot":
        return  # in Python a plot draws nothing unless it is told what
    assert stage_of(path) == type(stage_of(path))()


@pytest.mark.parametrize(
    ("group", "options"),
    [
        ("source", {"demo"}),
        ("background", {"none"}),
        ("correction", {"none"}),
        ("mask", {"strict", "gentle", "none"}),
        ("integ", {"two_theta"}),
        ("plot", {"none", "image", "pattern", "paper", "waterfall"}),
        ("output", set()),
        ("parallel", {"serial", "dask", "slurm"}),
        ("sweep", set()),
    ],
)
def test_the_options_of_the_contract_are_shipped(group: str, options: set[str]) -> None:
    assert {path.stem for path in FILES if path.parent.name == group} >= {"default"} | options


@pytest.mark.parametrize(
    ("override", "group", "expected"),
    [
        ("mask=default", "mask", {"edge": 30, "lower_thresh": 0.0, "upper_thresh": None, "alpha": 2.0, "file": None}),
        ("mask=strict", "mask", {"edge": 50, "lower_thresh": 1.0, "upper_thresh": 1e5, "alpha": 1.5, "file": None}),
        ("mask=gentle", "mask", {"alpha": 3.0, "edge": 0, "lower_thresh": 0.0}),
        ("mask=none", "mask", {"alpha": None, "edge": 0, "lower_thresh": None, "upper_thresh": None}),
        ("integ=default", "integ", {"npt": 1480, "unit": "q_A^-1", "method": ["full", "csr", "cython"]}),
        ("integ=default", "integ", {"correctSolidAngle": False, "polarization_factor": None, "error_model": None}),
        ("integ=two_theta", "integ", {"unit": "2th_deg", "npt": 1480}),
        ("background=default", "background", {"file": None, "scale": 1.0, "dark_file": None}),
        ("plot=none", "plot", {"image": None, "pattern": None}),
        ("plot=image", "plot", {"pattern": None}),
        ("plot=pattern", "plot", {"image": None}),
        ("output=default", "output", {"format": "chi", "mask": False}),
        ("source=default", "source", {"transform": []}),
        ("parallel=default", "parallel", {"n_jobs": -1, "backend": "auto"}),
        ("parallel=serial", "parallel", {"n_jobs": 1}),
    ],
)
def test_the_values_are_those_of_the_contract(override: str, group: str, expected: dict[str, Any]) -> None:
    values = composed(override)[group]
    assert {key: validated_value(values[key]) for key in expected} == expected


def validated_value(value: Any) -> Any:
    return float(value) if isinstance(value, str) and value[:1].isdigit() and "_" not in value else value


def test_the_usual_keys_of_matplotlib_are_there_without_a_plus() -> None:
    plot = composed()["plot"]
    assert {"z_score", "cmap", "vmin", "vmax"} <= set(plot["image"])
    assert {"color", "marker", "linestyle", "linewidth"} <= set(plot["pattern"])


def test_the_top_level_lists_every_setting_with_words_and_nothing_else() -> None:
    text = (conf_dir() / "config.yaml").read_text()
    keys = set(yaml.safe_load(text)) - {"defaults", "hydra"}
    assert keys == {field.name for field in dataclasses.fields(Settings)} - {"parallel", "sweep", "geometry"}
    for key in keys:
        line = next(line for line in text.splitlines() if line.startswith(f"{key}:"))
        assert len(line.partition("#")[2].split()) >= 2, line
    assert composed()["stages"] == ["background", "correction", "mask", "integ", "pattern", "plot", "output"]


def test_the_top_level_has_the_defaults_of_the_class() -> None:
    top, _ = parse_settings(composed())
    assert dataclasses.replace(top, stages=[]) == Settings()
