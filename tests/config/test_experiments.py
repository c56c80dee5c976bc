"""The shipped experiments, each run on a tiny demo, and sweeps that a configuration names itself."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from command import FAST, CommandResult, call
from tiny import TINY

from xrdpipe.cli.help import help_text
from xrdpipe.config.loader import Loader, conf_dir, to_builtin
from xrdpipe.stages import simulation
from xrdpipe.stages.simulation import Simulation

EXPERIMENTS = sorted((conf_dir() / "experiment").glob("*.yaml"))


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run an experiment on two small frames of the demo, into `tmp_path`/out."""
    size = {"shape": TINY.shape, "pixel": TINY.pixel, "dist": TINY.dist, "lines": 0}
    monkeypatch.setattr(simulation, "Simulation", partial(Simulation, **size))
    monkeypatch.chdir(tmp_path)

    def run(experiment: str, *words: str) -> CommandResult:
        return call(
            f"experiment={experiment}", "source=demo", "source.frames=2", "output_dir=out", "quiet=true", *words
        )

    return run


@pytest.mark.slow
def test_a_temperature_series_ends_in_a_waterfall_of_patterns_with_sigma(tiny: Any, tmp_path: Path) -> None:
    assert tiny("temperature_series").status == 0
    assert np.loadtxt(tmp_path / "out" / "ni_300K.chi").shape[1] == 3
    assert sorted(path.name for path in (tmp_path / "out" / "figures").iterdir()) == ["waterfall.pdf", "waterfall.png"]


@pytest.mark.slow
def test_mask_tuning_is_a_sweep_without_m_and_what_is_typed_wins(tiny: Any, tmp_path: Path) -> None:
    told = tiny("mask_tuning", "mask.edge=10", "mask.lower_thresh=0", "hydra/launcher=basic", "plot=none")
    assert told.status == 0, told.err
    rows = list(csv.DictReader((tmp_path / "out" / "sweep.csv").read_text().splitlines()))
    assert sorted(row["mask.alpha"] for row in rows) == ["1.5", "2", "3", "5"]
    masks = [np.load(tmp_path / "out" / str(job) / "masks" / "ni_300K.npy") for job in range(4)]
    assert not masks[0][10:-10, 10:-10].all()
    assert masks[0].sum() > masks[3].sum()


@pytest.mark.slow
def test_a_pdf_measurement_is_corrected_and_has_no_comment_that_pdfgetx3_would_not_skip(
    tiny: Any, tmp_path: Path
) -> None:
    assert tiny("pdf").status == 0
    text = (tmp_path / "out" / "ni_300K.chi").read_text()
    assert '"correctSolidAngle": true' in text
    assert "background: air.tiff" in text
    q = np.loadtxt(text.splitlines())[:, 0]
    assert 0.5 <= q.min() < q.max() <= 25


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_says_what_it_is_and_how_it_is_run(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0] == "# @package _global_"
    words = [f"experiment={path.stem}", *lines[1].removeprefix("# ").split()]
    assert any(line.split() == words for line in help_text().splitlines())
    assert f"#   xrdpipe experiment={path.stem} source=demo" in path.read_text()
    assert set(yaml.safe_load(path.read_text())) <= {"defaults", *to_builtin(Loader().compose()), "hydra"}


def test_an_experiment_wins_over_local_settings_and_the_command_line_over_both(tmp_path: Path) -> None:
    for file in ("local/default", "experiment/mine"):
        (tmp_path / file).parent.mkdir()
        (tmp_path / f"{file}.yaml").write_text(f"# @package _global_\nmask:\n  edge: {len(file)}\n  alpha: 4\n")
    loader = Loader(str(tmp_path))
    assert to_builtin(loader.compose())["mask"]["edge"] == len("local/default")
    mine = to_builtin(loader.compose(["experiment=mine", "mask.alpha=5"]))["mask"]
    assert (mine["edge"], mine["alpha"]) == (len("experiment/mine"), 5)


def named(folder: Path, params: str) -> Path:
    """A --config-dir with the experiment `mine`, which is a sweep."""
    (folder / "conf" / "experiment").mkdir(parents=True)
    text = f"# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params: {{{params}}}\n"
    (folder / "conf" / "experiment" / "mine.yaml").write_text(text)
    return folder / "conf"


@pytest.mark.slow
def test_a_sweep_in_yaml_is_like_one_on_the_command_line(poni: Path, frames: list[Path], tmp_path: Path) -> None:
    conf = named(tmp_path, "integ.unit: 'q_A^-1,r_mm', mask: 'default,none'")
    words = [f"poni={poni}", str(frames[0]), *FAST, "hydra/launcher=basic", "quiet=true"]
    one = call(*words, "--config-dir", conf, "experiment=mine", f"output_dir={tmp_path / 'one'}")
    two = call(*words, "-m", "integ.unit=q_A^-1,r_mm", "mask=default,none", f"output_dir={tmp_path / 'two'}")
    assert (one.status, two.status) == (0, 0), one.err + two.err
    for job in range(4):
        same = [(tmp_path / each / str(job) / "ni_1.chi").read_bytes() for each in ("one", "two")]
        assert same[0] == same[1]


@pytest.mark.slow
def test_a_sweep_in_yaml_with_a_wrong_key_is_told_by_its_job(poni: Path, frames: list[Path], tmp_path: Path) -> None:
    conf = named(tmp_path, "mask.alhpa: '1,2'")
    words = [f"poni={poni}", str(frames[0]), "hydra/launcher=basic", f"output_dir={tmp_path / 'out'}"]
    told = call(*words, "--config-dir", conf, "experiment=mine")
    assert told.status == 1
    assert "mask.alhpa: no such key; did you mean 'mask.alpha'?" in told.err
