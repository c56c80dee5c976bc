"""A configuration that is saved as an experiment composes to itself, from any folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from xrdpipe.config.arguments import parse
from xrdpipe.config.experiment import absolute_paths, check_experiment, experiment_yaml
from xrdpipe.config.loader import Loader, conf_dir, force_overrides, to_builtin
from xrdpipe.model.errors import ConfigError

HOSTILE = (
    "${oc.env:HOME}.tif",
    "a: b #c.tif",
    "- x.tif",
    "'\"\\.tif",
    "new\nline.tif",
    "null",
    "[a,b].tif",
    "ü 1e5.tif",
)


def composed(*words: str, folder: str | None = None) -> tuple[dict[str, Any], dict[str, str]]:
    command = parse(words)
    cfg = Loader(folder).compose(force_overrides(command.overrides))
    values = to_builtin(cfg)
    values["images"] = [*(values["images"] or []), *command.images]
    return values, {str(group): str(option) for group, option in cfg.hydra.runtime.choices.items()}


@pytest.mark.parametrize(
    "words",
    [
        ["mask=strict", "mask.alpha=2.5", "integ=cake", "integ.npt_azim=90"],
        ["experiment=pdf", "background.file=air.tif", "integ.edges=[1,2,3]"],
        ["geometry.dist=0.3", "plot=paper", "source.transform=[flipud]", "output.format=[chi,csv]", "parallel=serial"],
        ["plot.image=null", "+plot.pattern.alpha=0.5", "background.scale=auto", "stages=[background,integ]"],
        ["mask.upper_thresh=1e5", "mask.lower_thresh=null", "quiet=true", "output_dir=out", "integ.empty=0"],
        ["mask.file=[a.npy,b.npy]", "background.monitor=table.csv:I0", "integ.monitor=/entry/monitor", "poni=a.poni"],
    ],
)
def test_a_saved_experiment_composes_to_the_configuration_it_was_made_of(words: list[str]) -> None:
    values, choices = composed(*words)
    text = experiment_yaml(values, choices, "mine")
    check_experiment(text, values, "mine")
    assert text.startswith("# @package _global_\n")


def test_paths_with_any_characters_arrive_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in HOSTILE:
        (tmp_path / name).touch()
    values, choices = composed("poni=${oc.env:HOME}.tif", *(f"./{name}" for name in HOSTILE))
    values["background"]["file"] = list(HOSTILE)
    check_experiment(experiment_yaml(values, choices, "mine"), values, "mine")
    expected = [os.path.join(tmp_path, name) for name in HOSTILE]
    assert absolute_paths(values)["images"] == expected
    assert absolute_paths(values)["background"]["file"] == expected


def test_paths_keep_what_is_behind_and_before_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").touch()
    values = {
        "images": ["scan.h5::/entry/data[0:5]", "@list.txt", "data/**/*.tif"],
        "poni": None,
        "integ": {"monitor": "table.csv:I0", "exposure": "header key", "edges": "edges.txt"},
    }
    here = str(tmp_path)
    assert absolute_paths(values) == {
        "images": [f"{here}/scan.h5::/entry/data[0:5]", f"@{here}/list.txt", f"{here}/data/**/*.tif"],
        "poni": None,
        "integ": {"monitor": f"{here}/table.csv:I0", "exposure": "header key", "edges": f"{here}/edges.txt"},
    }


def test_options_of_ones_own_are_written_in_full_or_refused(tmp_path: Path) -> None:
    (tmp_path / "mask").mkdir()
    option = tmp_path / "mask" / "mine.yaml"
    option.write_text("_target_: xrdpipe.stages.mask.Mask\nalpha: 7.0\n")
    values, choices = composed("mask=mine", folder=str(tmp_path))
    with pytest.raises(ConfigError, match="mask: cannot be said in an experiment"):
        check_experiment(experiment_yaml(values, choices, "mine"), values, "mine")
    option.write_text((conf_dir() / "mask" / "strict.yaml").read_text().replace("1.5", "1.75"))
    values, choices = composed("mask=mine", folder=str(tmp_path))
    text = experiment_yaml(values, choices, "mine")
    check_experiment(text, values, "mine")
    assert "alpha: 1.75" in text


def test_a_name_that_is_none_in_the_grammar_is_refused() -> None:
    values, choices = composed("mask=strict")
    text = experiment_yaml(values, choices, "two\nlines")
    assert text.splitlines()[1:3] == ["# two", "# lines"]
    for name in ("null", "mine.yaml", "1e5"):
        with pytest.raises(ConfigError, match=f"name={name}: "):
            check_experiment(text, values, name)
    for name in ("mine", "a.b", "a-b", "run_7", "7a"):
        check_experiment(text, values, name)
