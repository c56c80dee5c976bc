"""The verdict of a sweep: the best job, how clearly, what matters; and that a search by Optuna finds its way."""

from __future__ import annotations

import csv
import json
import math
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from command import FAST, call, results

from xrdpipe import integrate
from xrdpipe.config.rank import parse_rank
from xrdpipe.model.errors import ConfigError
from xrdpipe.numerics.metrics import METRICS
from xrdpipe.results.command import repeat_command
from xrdpipe.stages import simulation as simulations
from xrdpipe.sweeps.verdict import beyond_masks, median_metrics, rank_rows, score, setting_effects, ties

INPUTS = ("poni=data/tiny.poni", "data/ni_1.tiff", *FAST, "mask.edge=5")
BASIC = "hydra/launcher=basic"


@pytest.fixture
def here(data: Path, poni: Path, frames: list[Path], air: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(data.parent)
    return data.parent


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def verdict(folder: Path) -> Any:
    return json.loads((folder / "sweep.json").read_text())


# --------------------------------------------------------------------------------------------------------- sweep.rank


@pytest.mark.parametrize(
    ("rank", "expected"),
    [
        ("pattern_error", ((1.0, "pattern_error"),)),
        ("-peak_width", ((-1.0, "peak_width"),)),
        (["pattern_error", "-0.5*masked_edge"], ((1.0, "pattern_error"), (-0.5, "masked_edge"))),
        (["2 * spottiness", "1e-3*seconds"], ((2.0, "spottiness"), (1e-3, "seconds"))),
    ],
)
def test_a_rank_is_a_sum_of_weighted_metrics(rank: Any, expected: Any) -> None:
    assert parse_rank(rank) == expected
    metrics = dict.fromkeys(METRICS, 3.0)
    assert score(metrics, parse_rank(rank)) == pytest.approx(sum(3 * weight for weight, _ in expected))


@pytest.mark.parametrize(
    "rank", ["patern_error", ["2*pattern_error", "x"], [], None, 3, "pattern_error*2", ["1.2.3*seconds"]]
)
def test_a_rank_that_means_nothing_is_refused(rank: Any) -> None:
    with pytest.raises(ConfigError, match="rank="):
        parse_rank(rank)


def test_an_unknown_metric_is_refused_with_the_nearest_name_before_any_job_runs(here: Path) -> None:
    told = call("-m", "mask.alpha=2,3", "sweep.rank=[pattern_error,2*spotiness]", *INPUTS, "output_dir=out", BASIC)
    assert told.status == 2
    assert told.err == "xrdpipe: sweep.rank=2*spotiness: no such metric; did you mean 'spottiness'?\n"
    assert not (here / "out").exists()
    assert call("-m", "sweep.rank=pattern_error,seconds", *INPUTS, "output_dir=out", BASIC).status == 2


def test_every_metric_of_a_run_can_be_ranked_by(here: Path) -> None:
    run = integrate("data/tiny.poni", "data/ni_1.tiff", integ={"npt": 100, "error_model": "poisson"}, output_dir=None)
    assert set(run.frames[0].metrics) <= set(METRICS)
    assert set(METRICS) - set(run.frames[0].metrics) == {"masked_fraction", "seconds"}


def test_a_run_that_is_no_sweep_estimates_the_error_of_frames_with_a_picture_alone(here: Path) -> None:
    image = tifffile.imread("data/ni_1.tiff")
    words = {"integ": {"npt": 50}, "output_dir": None}
    run = integrate("data/tiny.poni", {f"frame_{number}": image for number in range(7)}, **words)
    known = ["pattern_error" in frame.metrics for frame in run.frames]
    assert known.count(True) == 5
    assert known[0]
    assert known[-1]
    none = integrate("data/tiny.poni", "data/ni_1.tiff", overrides=["report=false"], **words)
    assert "pattern_error" not in none.frames[0].metrics


def test_a_job_has_the_median_of_its_frames_and_those_that_failed_do_not_count() -> None:
    images = [
        {"status": "done", "masked_fraction": x, "seconds": 1.0, "metrics": {"pattern_error": x}} for x in (1, 2, 9)
    ]
    failed = {"status": "failed", "masked_fraction": None, "seconds": 1.0, "metrics": {}}
    assert median_metrics([*images, failed]) == {"pattern_error": 2, "masked_fraction": 2, "seconds": 1}
    assert median_metrics([failed]) == {}
    assert math.isnan(score(median_metrics([failed]), parse_rank("pattern_error")))


# ------------------------------------------------------------------------------------------------ ranks, ties, spreads


def rows(*scores: float | str, failed: tuple[int, ...] = (), **varied: list[str]) -> list[dict[str, Any]]:
    return [
        {"job": job, "score": value, "failed": int(job in failed), **{key: each[job] for key, each in varied.items()}}
        for job, value in enumerate(scores)
    ]


def test_the_least_score_is_first_then_jobs_that_lost_frames_then_those_without_a_score() -> None:
    found = rank_rows(rows(3.0, "", 1.0, 2.0, failed=(2,)))
    assert [(row["job"], row["rank"]) for row in found] == [(3, 1), (0, 2), (2, 3), (1, "")]


def images(*values: float, parts: tuple[float, ...] = ()) -> list[dict[str, Any]]:
    return [
        {"name": str(n), "status": "done", "metrics": {"pattern_error": value}, "error_parts": list(parts)}
        for n, value in enumerate(values)
    ]


def test_jobs_that_differ_by_less_than_their_differences_vary_over_frames_cannot_be_told_apart() -> None:
    rank = parse_rank("pattern_error")
    jobs = {0: images(1.0, 2.0, 3.0), 1: images(1.1, 2.1, 3.1), 2: images(1.3, 1.9, 3.1)}
    ranked = rank_rows(rows(2.0, 2.1, 2.1))
    assert ties(ranked, jobs, rank) == [2]  # job 1 is worse in every frame by the same, job 2 only on average
    assert ties(rank_rows(rows("", "")), jobs, rank) == []


def test_the_parts_of_one_frame_say_whether_jobs_can_be_told_apart() -> None:
    rank = parse_rank("pattern_error")
    jobs = {0: images(1.0, parts=(0.5, 1.5)), 1: images(1.2, parts=(0.7, 1.7)), 2: images(1.2, parts=(1.7, 0.7))}
    assert ties(rank_rows(rows(1.0, 1.2, 1.2)), jobs, rank) == [2]


def test_settings_that_are_no_masks_are_named() -> None:
    assert beyond_masks(["mask", "mask.alpha", "plot", "output_dir"]) == []
    assert beyond_masks(["mask.alpha", "integ.npt", "background.scale"]) == ["integ.npt", "background.scale"]


def test_the_former_ring_bias_is_refused_with_what_to_use_instead() -> None:
    with pytest.raises(ConfigError, match=r"no ring_bias any more.*use pattern_error"):
        parse_rank("ring_bias")


@pytest.mark.slow
def test_jobs_that_differ_in_more_than_masks_are_ranked_only_by_a_rank_that_is_named(here: Path) -> None:
    words = ["-m", "integ.npt=50,60", "poni=data/tiny.poni", "data/ni_1.tiff", "plot=none", "report=false", BASIC]
    told = call(*words, "output_dir=out")
    assert told.status == 0
    assert "no job is ranked: integ.npt: pattern_error compares masks" in told.out
    assert verdict(here / "out")["best"] is None
    assert call(*words, "sweep.rank=pattern_error", "output_dir=named").status == 0
    assert verdict(here / "named")["best"] is not None


def test_a_spread_is_the_distance_of_the_means_of_a_setting() -> None:
    found = setting_effects(rows(1.0, 2.0, 5.0, 6.0, a=["x", "x", "y", "y"], b=["1", "2", "1", "2"]), ["b", "a"])
    assert [(each["key"], each["spread"], each["share"]) for each in found] == [("a", 4.0, 0.8), ("b", 1.0, 0.2)]
    assert found[0]["means"] == {"x": 1.5, "y": 5.5}


def test_values_that_are_all_different_are_compared_by_halves() -> None:
    found = setting_effects(
        rows(1.0, 2.0, 5.0, 6.0, a=["0.1", "0.2", "0.3", "0.4"], b=["9", "1", "8", "2"]), ["a", "b"]
    )
    assert found[0] == {"key": "a", "spread": 4.0, "share": 0.8, "means": {"< 0.25": 1.5, ">= 0.25": 5.5}}


def test_the_command_of_a_job_leaves_out_what_belongs_to_the_sweep() -> None:
    command = ["--config-dir=my conf", "mask.alpha=2", "output_dir=x", "sweep.rank=seconds", "resume=true", "a b.tiff"]
    assert repeat_command({"command": command, "job": 3}) == "xrdpipe '--config-dir=my conf' mask.alpha=2 'a b.tiff'"


# ----------------------------------------------------------------------------------------------------------- the sweep


@pytest.mark.slow
def test_a_sweep_ends_in_a_ranked_table_and_the_command_line_of_the_best(here: Path) -> None:
    (here / "my data").mkdir()
    (here / "data" / "ni_1.tiff").rename(here / "my data" / "it's 1.tiff")
    words = ["-m", "mask.alpha=1,2,4", "mask.lower_thresh=null,0", "poni=data/tiny.poni", "my data/it's 1.tiff"]
    told = call(*words, *FAST, "mask.edge=5", "output_dir=out", BASIC)
    assert told.status == 0, told
    found = table(here / "out")
    assert [row["rank"] for row in found] == list("123456")
    assert sorted(float(row["score"]) for row in found) == [float(row["score"]) for row in found]
    assert all(row["score"] == row["pattern_error"] and float(row["masked_fraction"]) > 0 for row in found)
    about = verdict(here / "out")
    assert about["rank"] == [{"metric": "pattern_error", "weight": 1.0}]
    assert str(about["best"]) == found[0]["job"]
    assert {each["key"] for each in about["spreads"]} == {"mask.alpha", "mask.lower_thresh"}
    assert about["failures"] == []
    assert f"best: job {about['best']}" in told.out
    assert about["command"] in told.out
    program, *typed = shlex.split(about["command"])
    assert program == "xrdpipe"
    assert call(*typed, "output_dir=alone").status == 0
    assert results(here / "alone", "*.chi") == results(here / "out" / found[0]["job"], "*.chi")


@pytest.mark.slow
def test_the_best_of_a_sweep_over_the_demo_is_repeated_by_its_command_line(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = {"shape": (128, 128), "pixel": (1.6e-3, 1.6e-3)}
    simulation = simulations.Simulation
    monkeypatch.setattr(simulations, "Simulation", lambda **keys: simulation(**{**shape, **keys}))
    words = ["-m", "mask.alpha=2,4", "source=demo", "source.frames=1", *FAST, "mask.edge=5", "output_dir=out", BASIC]
    assert call(*words).status == 0
    assert call(*shlex.split(verdict(here / "out")["command"])[1:], "output_dir=alone").status == 0
    assert results(here / "alone") == results(here / "out" / str(verdict(here / "out")["best"]))


@pytest.mark.slow
def test_a_rank_of_ones_own_decides_and_may_say_that_more_is_better(here: Path) -> None:
    words = ["-m", "mask.alpha=1.5,3", *INPUTS, BASIC]
    assert call(*words, "sweep.rank=masked_fraction", "output_dir=less").status == 0
    assert call(*words, "sweep.rank=[-1*masked_fraction]", "output_dir=more").status == 0
    assert [row["mask.alpha"] for row in table(here / "less")] == ["3", "1.5"]
    assert [row["mask.alpha"] for row in table(here / "more")] == ["1.5", "3"]


def test_failing_jobs_are_listed_with_their_reason_and_have_no_rank(here: Path) -> None:
    told = call("-m", "mask.alpha=2,-1", *INPUTS, "output_dir=out", BASIC)
    assert told.status == 1
    assert [(row["job"], row["rank"], row["status"]) for row in table(here / "out")] == [
        ("0", "1", "done"),
        ("1", "", "refused"),
    ]
    (failure,) = verdict(here / "out")["failures"]
    assert failure["what"] == "mask.alpha=-1"
    assert "a number > 0 expected" in failure["reason"]
    assert f"job 1 refused (mask.alpha=-1): {failure['reason']}" in told.out


@pytest.mark.slow
def test_without_the_metric_no_job_is_ranked_and_the_table_says_why(here: Path) -> None:
    told = call("-m", "mask.alpha=2,3", "sweep.rank=sigma_over_intensity", *INPUTS, "output_dir=out", BASIC)
    assert told.status == 0
    assert "none has sigma_over_intensity" in told.out
    assert [row["rank"] for row in table(here / "out")] == ["", ""]
    assert verdict(here / "out")["best"] is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the old Optuna that the sweeper of Hydra needs
@pytest.mark.parametrize("launcher", ["basic", "xrdpipe"])
def test_optuna_searches_and_a_failing_job_does_not_stop_it(launcher: str, here: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="hydra-optuna-sweeper is not installed")
    search = ["mask.alpha=interval(-4.0,4.0)", "background.scale=interval(0.5,1.0)", "background.file=data/air.tiff"]
    optuna = ["sweep.rank=pattern_error", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=2"]
    optuna += ["hydra.sweeper.sampler.seed=2", f"hydra/launcher={launcher}"]
    call("-m", *optuna, *search, *INPUTS, "output_dir=out")
    found = table(here / "out")
    assert len(found) == 6
    assert {row["status"] for row in found} == {"done", "refused"}
    values = {(row["mask.alpha"], row["background.scale"]) for row in found}
    assert len(values) == 6
    told = (here / "out" / "optimization_results.yaml").read_text()
    assert found[0]["mask.alpha"] in told  # Optuna's best is ours
    assert float(told.rpartition("best_value: ")[2]) == pytest.approx(float(found[0]["score"]), rel=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_a_search_over_more_than_masks_needs_a_rank(here: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="hydra-optuna-sweeper is not installed")
    told = call("-m", "hydra/sweeper=optuna", "integ.npt=range(50,90)", *INPUTS, "output_dir=out")
    assert told.status == 2
    assert "integ.npt: pattern_error compares masks" in told.err
    assert not (here / "out").exists()


@pytest.mark.filterwarnings("ignore")
def test_a_search_for_the_largest_score_is_refused(here: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="hydra-optuna-sweeper is not installed")
    words = ["-m", "hydra/sweeper=optuna", "hydra.sweeper.direction=maximize", "mask.alpha=interval(1.0,4.0)"]
    told = call(*words, *INPUTS, "output_dir=out")
    assert told.status == 2
    assert "sweep.rank" in told.err


@pytest.mark.slow
def test_a_sweep_over_twelve_masks_finds_one_of_the_three_nearest_to_the_truth(here: Path) -> None:
    simulation = simulations.Simulation(shape=(1024, 1024), pixel=(4e-4, 4e-4), seed=11)
    (here / "demo.poni").write_text(simulation.poni_text())
    tifffile.imwrite(here / "frame.tiff", simulation.frame())
    tifffile.imwrite(here / "air.tiff", simulation.air_frame())
    varied = ["mask.alpha=1.5,2,3", "mask.auto_type=median,mean", "mask.lower_thresh=null,0"]
    words = ["poni=demo.poni", "frame.tiff", "background.file=air.tiff", "plot=none", "report=false"]
    assert call("-m", *varied, *words, "output_dir=out", BASIC).status == 0
    expected = simulation.expected() - simulation._on_detector(simulation.air_pattern)
    truth = integrate("demo.poni", {"truth": expected}, mask="none", plot="none", output_dir=None).patterns["truth"]
    away = {}
    for job in range(12):
        radial, intensity = np.loadtxt(here / "out" / str(job) / "frame.chi", unpack=True)
        known = np.interp(radial, truth.radial, truth.intensity)
        away[job] = np.abs(intensity - known).sum() / known.sum()
    assert verdict(here / "out")["best"] in sorted(away, key=lambda job: away[job])[:3]
