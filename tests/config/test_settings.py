"""Composition: who wins, what is refused in which words, and that nothing in a configuration runs code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from xrdpipe.config.arguments import quoted
from xrdpipe.config.loader import Loader, force_overrides, to_builtin
from xrdpipe.config.settings import Settings, as_list, merge, parse_settings
from xrdpipe.model.errors import ConfigError
from xrdpipe.pipeline.pipeline import Pipeline
from xrdpipe.results.new_folder import new_folder


def composed(*overrides: str, config_dir: Path | None = None) -> dict[str, Any]:
    return to_builtin(Loader(str(config_dir) if config_dir else None).compose(force_overrides(overrides)))


def checked(*overrides: str, config_dir: Path | None = None) -> Pipeline:
    top, groups = parse_settings(composed(*overrides, config_dir=config_dir))
    return Pipeline.of(groups, top.stages)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("mask.alhpa=3", r"^mask\.alhpa: no such key; did you mean '(mask\.)?alpha'"),
        ("+mask.alhpa=3", r"^mask\.alhpa: no such key; did you mean '(mask\.)?alpha'"),
        ("++mask.alhpa=3", r"^mask\.alhpa: no such key; did you mean '(mask\.)?alpha'"),
        ("mask.alpha=abc", r"^mask\.alpha=abc: a number or null expected"),
        ("mask=nope", r"^mask=nope: no such option; did you mean 'none'"),
        ("mask=strickt", r"^mask=strickt: no such option; did you mean 'strict'"),
        ("msak=strict", r"^msak: no such key or group; did you mean 'mask'"),
        ("integ.npt=0", r"^integ\.npt=0: at least one bin"),
        ("integ.npt=10.5", r"^integ\.npt=10\.5: a whole number expected"),
        ("stages=[mask,mask]", r"^stages=.*mask stands there twice"),
        ("stages=[msak]", r"^stages: there is no stage 'msak'"),
        ("stages=[source]", r"^stages: there is no stage 'source'"),
        ("stages=mask", r"^stages=mask: a list of names expected"),
        ("parallel.n_jobs=0", r"^parallel\.n_jobs=0: -1 \(all cores\) or a number >= 1"),
        ("parallel.backend=treading", r"^parallel\.backend=treading: unknown; did you mean 'threading'"),
        ("parallel.jobs=3", r"^parallel\.jobs: no such key; did you mean '(parallel\.)?n_jobs'"),
        ("overwrite=maybe", r"^overwrite=maybe: true or false expected"),
        ("output.format=xyz", r"^output\.format=xyz: unknown"),
        ("mask=null", "group is set to null"),
        ("mask.alpha=${nope}", "nope"),
        ("images={a: 1}", r"^images=.*a path, a glob, @list"),
        ("images=[1]", r"^images=.*a path, a glob, @list"),
    ],
)
def test_a_mistake_is_told_in_a_line_without_hydras_hint(override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        checked(override)
    assert len(str(error.value).splitlines()) <= 2
    assert "To append" not in str(error.value)
    assert "+mask" not in str(error.value)


def test_an_own_option_is_found_in_an_own_folder(tmp_path: Path) -> None:
    (tmp_path / "mask").mkdir()
    (tmp_path / "mask" / "mine.yaml").write_text("_target_: xrdpipe.mask.Mask\nalpha: 7.0\n")
    assert composed("mask=mine", config_dir=tmp_path)["mask"] == {"_target_": "xrdpipe.mask.Mask", "alpha": 7.0}


def test_an_own_file_of_a_shipped_name_wins(tmp_path: Path) -> None:
    (tmp_path / "mask").mkdir()
    (tmp_path / "mask" / "strict.yaml").write_text("_target_: xrdpipe.mask.Mask\nalpha: 7.0\n")
    assert composed("mask=strict", config_dir=tmp_path)["mask"]["alpha"] == 7.0
    assert composed("mask=strict")["mask"]["alpha"] == 1.5


def test_own_settings_are_read_from_local_default(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "default.yaml").write_text("# @package _global_\nmask: {alpha: 9.0}\nquiet: true\n")
    values = composed("integ.npt=7", config_dir=tmp_path)
    assert (values["mask"]["alpha"], values["mask"]["edge"], values["quiet"]) == (9.0, 30, True)
    assert values["integ"]["npt"] == 7


def test_a_mistake_in_an_own_file_is_told_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "mask").mkdir()
    (tmp_path / "mask" / "mine.yaml").write_text("_target_: xrdpipe.mask.Mask\nalhpa: 7.0\n")
    with pytest.raises(ConfigError, match=r"^mask\.alhpa: no such key; did you mean '(mask\.)?alpha'"):
        checked("mask=mine", config_dir=tmp_path)
    (tmp_path / "mask" / "mine.yaml").write_text("_target_: [unclosed\n  : :")
    with pytest.raises(ConfigError) as error:
        checked("mask=mine", config_dir=tmp_path)
    assert len(str(error.value).splitlines()) <= 2
    with pytest.raises(ConfigError, match="no such folder"):
        composed(config_dir=tmp_path / "nowhere")


@pytest.mark.slow
@settings_of_hypothesis(max_examples=15)  # each is a composition: 0.1 s
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1))
def test_any_path_arrives_as_it_was_typed(path: str) -> None:
    assert composed(f"++background.note={quoted(path)}")["background"]["note"] == path


def test_home_and_variables_of_path_keys_are_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("RUN", "seven")
    values = composed("poni='~/g.poni'", "output_dir='~/$RUN'", "mask.file='$RUN.npy'", "background.file=null")
    assert (values["poni"], values["output_dir"]) == ("/home/me/g.poni", "/home/me/seven")
    assert (values["mask"]["file"], values["background"]["file"]) == ("seven.npy", None)


def test_composing_leaves_hydras_global_state_alone() -> None:
    before = HydraConfig.instance().cfg  # of a sweep that ran in this process, or None
    composed("mask=strict")
    assert not GlobalHydra.instance().is_initialized()
    assert HydraConfig.instance().cfg is before


# --- nothing is run

TRAP = "xrdpipe_test_trap"
UNSAFE = [
    "+hydra.callbacks.x._target_=xrdpipe_test_trap.X",
    "+hydra/callbacks=trap",
    "hydra/job_logging=default",
    "hydra/job_logging=trap",
    "hydra/hydra_logging=trap",
    "hydra/hydra_logging=default",
    "++hydra.job_logging.handlers.x.(){}=xrdpipe_test_trap.X".replace("(){}", "class"),
    "+hydra.job.env_set.PYTHONPATH=/tmp",
    "hydra.job.env_set={A: b}",
    "hydra.job.env_copy=[HOME]",
    "hydra.job.chdir=true",
    "hydra.output_subdir=x",
    "hydra.run.dir=elsewhere",
    "hydra.launcher._target_=xrdpipe_test_trap.X",
    "hydra.sweeper._target_=xrdpipe_test_trap.X",
    "hydra/launcher=trap",
    "hydra/sweeper=trap",
    "++hydra.launcher.inner={_target_: xrdpipe_test_trap.X}",
    "++hydra.sweeper.inner=[{_target_: xrdpipe_test_trap.X}]",
    "hydra.searchpath=[pkg://xrdpipe_test_trap]",
]


@pytest.fixture
def trapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A --config-dir full of traps, and a module that writes a file when it is imported."""
    code = f"open({str(tmp_path / 'sprung')!r}, 'w')\ndef X(*a, **k): pass\n"
    package = tmp_path / "modules" / TRAP
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(code)
    monkeypatch.syspath_prepend(package.parent)
    texts = {
        "hydra/callbacks/trap.yaml": f"x: {{_target_: {TRAP}.X}}",
        "hydra/job_logging/trap.yaml": f"version: 1\nhandlers: {{x: {{(): {TRAP}.X}}}}\nroot: {{handlers: [x]}}",
        "hydra/hydra_logging/trap.yaml": f"version: 1\nhandlers: {{x: {{(): {TRAP}.X}}}}\nroot: {{handlers: [x]}}",
        "hydra/launcher/trap.yaml": f"_target_: {TRAP}.X",
        "hydra/sweeper/trap.yaml": f"_target_: {TRAP}.X",
        "mask/trap.yaml": f"_target_: {TRAP}.X",
        "local/default.yaml": "# @package _global_\n{}",
    }
    for name, text in texts.items():
        path = tmp_path / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "conf"


def assert_untouched(tmp_path: Path) -> None:
    assert not (tmp_path / "sprung").exists()
    assert TRAP not in sys.modules


@pytest.mark.parametrize("override", UNSAFE)
@pytest.mark.filterwarnings("ignore:In config. Invalid overriding")
def test_a_configuration_that_would_run_code_is_refused_and_nothing_is_imported(
    override: str, trapped: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        Loader(str(trapped)).compose([override])
    assert len(str(error.value).splitlines()) <= 2
    assert_untouched(tmp_path)


@pytest.mark.parametrize("override", [UNSAFE[0], "hydra/job_logging=trap", "hydra/launcher=trap"])
def test_so_is_a_sweep_with_such_a_configuration(override: str, trapped: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="refused"):
        Loader(str(trapped)).load_configuration("config", [override, "mask.alpha=1,2"], RunMode.MULTIRUN)
    assert_untouched(tmp_path)


def test_so_is_a_job_of_a_sweep_whose_option_brings_code_along(trapped: Path, tmp_path: Path) -> None:
    text = "# @package _global_\nhydra: {callbacks: {x: {_target_: " + TRAP + ".X}}}\n"
    (trapped / "mask" / "sly.yaml").write_text(text)
    loader = Loader(str(trapped))
    master = loader.load_configuration("config", ["mask=strict,sly"], RunMode.MULTIRUN)
    loader.load_sweep_config(master, ["mask=strict"])
    with pytest.raises(ConfigError, match=r"hydra\.callbacks: refused"):
        loader.load_sweep_config(master, ["mask=sly"])
    assert_untouched(tmp_path)


@pytest.mark.parametrize("override", ["mask=trap", "mask._target_=os.system", f"mask._target_={TRAP}.X"])
def test_a_stage_from_elsewhere_is_refused_and_nothing_is_imported(
    override: str, trapped: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"^mask\._target_=.*not a stage of xrdpipe or of an installed plug-in"):
        checked(override, config_dir=trapped)
    assert_untouched(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        f"hydra: {{callbacks: {{x: {{_target_: {TRAP}.X}}}}}}",
        f"hydra: {{job_logging: {{handlers: {{x: {{(): {TRAP}.X}}}}}}}}",
        "hydra: {job: {env_set: {A: b}}}",
        f"hydra: {{launcher: {{_target_: {TRAP}.X}}}}",
    ],
)
def test_an_own_local_file_cannot_bring_code_along(text: str, trapped: Path, tmp_path: Path) -> None:
    (trapped / "local" / "default.yaml").write_text(f"# @package _global_\n{text}\n")
    with pytest.raises(ConfigError, match="refused"):
        composed(config_dir=trapped)
    assert_untouched(tmp_path)


def test_an_own_top_level_file_cannot_bring_code_along(trapped: Path, tmp_path: Path) -> None:
    text = "defaults: [config, _self_]\nhydra: {callbacks: {x: {_target_: " + TRAP + ".X}}}\n"
    (trapped / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"hydra\.callbacks: refused"):
        Loader(str(trapped)).compose([], "mine")
    (trapped / "mine.yaml").write_text(f"defaults: [config, _self_]\nhydra: {{searchpath: ['pkg://{TRAP}']}}\n")
    with pytest.raises(ConfigError, match=r"hydra\.searchpath"):
        Loader(str(trapped)).compose([], "mine")
    assert_untouched(tmp_path)


def test_a_target_does_not_turn_a_setting_into_a_group() -> None:
    with pytest.raises(ConfigError, match=r"^parallel\._target_: no such key"):
        checked("parallel._target_=os.system")


@pytest.mark.parametrize("override", ["hydra/launcher=basic", "hydra/launcher=xrdpipe", "hydra.sweep.dir=x"])
def test_what_hydra_ships_can_be_chosen(override: str) -> None:
    composed(override)


# --- pieces


def test_groups_are_told_from_settings_by_their_target() -> None:
    top, groups = parse_settings({"poni": "g", "mask": {"_target_": "x"}, "parallel": {"n_jobs": 2}})
    assert (top.poni, top.parallel.n_jobs, groups) == ("g", 2, {"mask": {"_target_": "x"}})
    with pytest.raises(ConfigError, match=r"^nask: no such key"):
        parse_settings({"nask": {"alpha": 2}})
    with pytest.raises(ConfigError, match=r"^parallel=4"):
        parse_settings({"parallel": 4})


@pytest.mark.parametrize("images", ["a", ["a", "b"], None, []])
def test_images_are_a_path_or_a_list_of_them(images: Any) -> None:
    assert Settings(images=images).images == images


@given(st.dictionaries(st.text("ab", max_size=2), st.integers() | st.dictionaries(st.text("ab"), st.integers())))
def test_merging_sets_what_is_given_and_leaves_the_rest(values: dict[str, Any]) -> None:
    into: dict[str, Any] = {"a": {"a": 1, "z": 2}, "z": 3}
    merge(into, values)
    assert into["z"] == 3
    for key, value in values.items():
        if isinstance(value, dict) and key == "a":
            assert into[key] == {"a": 1, "z": 2} | value
        else:
            assert into[key] == value


def test_one_several_and_none_are_listed() -> None:
    assert (as_list(None), as_list("a"), as_list(["a", 1]), as_list(("a",))) == ([], ["a"], ["a", 1], ["a"])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("mask.alpha=2", "++mask.alpha=2"),
        ("+mask.alpha=2", "++mask.alpha=2"),
        ("mask=strict", "mask=strict"),
        ("npt=2", "npt=2"),
        ("hydra.sweep.dir=a.b", "hydra.sweep.dir=a.b"),
        ("~mask.alpha", "~mask.alpha"),
        ("mask.file='a=\nb.c=d'", "++mask.file='a=\nb.c=d'"),
        ("poni=a.b=c", "poni=a.b=c"),
    ],
)
def test_only_keys_inside_a_group_are_forced(before: str, after: str) -> None:
    assert force_overrides([before]) == [after]


def test_new_folders_are_never_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folders = [new_folder() for _ in range(5)] + [new_folder("sweeps")]
    assert len(set(folders)) == 6
    assert all(folder.is_dir() for folder in folders)
    assert folders[0].parts[0] == "outputs"
    assert folders[-1].parts[:2] == ("outputs", "sweeps")


def test_a_new_folder_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        new_folder()


def test_the_order_of_the_stages_is_part_of_what_a_result_is() -> None:
    usual = checked("stages=[background,mask,integ,plot,output]").identity()
    assert checked("stages=[mask,background,integ,plot,output]").identity() != usual
    assert checked("stages=[background,mask,integ,output]", "plot=none").identity() == usual  # figures change no number
