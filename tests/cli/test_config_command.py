"""`xrdpipe config`: keys are shown, searched and explained as the schemas have them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command import call

from xrdpipe.cli.config.pages import ALL, PAGES
from xrdpipe.config.described import every_key
from xrdpipe.config.keys import allowed, effect
from xrdpipe.config.loader import conf_dir

ROOT = Path(__file__).parents[2]


def rows(*words: str) -> dict[str, str]:
    """The rows of what is said about a key."""
    told = call("config", *words)
    assert (told.status, told.err) == (0, "")
    return {line[:11].strip(): line[12:] for line in told.out.splitlines()[1:]}


def line_of(file: str, text: str) -> int:
    return (conf_dir() / file).read_text().splitlines().index(
        next(line for line in (conf_dir() / file).read_text().splitlines() if text in line)
    ) + 1


def test_a_key_says_what_it_is_what_is_allowed_and_where_it_is_set() -> None:
    found = rows("mask.alpha")
    assert found["default"] == found["value"] == "2.0"
    assert found["allowed"] == "a number > 0, or null for no outliers"
    assert found["set in"] == f"conf/mask/default.yaml, line {line_of('mask/default.yaml', 'alpha:')}: 2.0"
    assert "strict 1.5" in found["options"]
    assert found["see"] == "docs/masks.md, picture docs/masks.png"
    assert found["effect"].startswith("Standard deviations")


def test_with_words_of_a_run_it_says_the_value_and_everything_that_set_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my" / "experiment").mkdir(parents=True)
    (tmp_path / "my" / "experiment" / "day.yaml").write_text("# @package _global_\n\nmask:\n  edge: 3\n  alpha: 4.0\n")
    found = rows("mask.alpha", "--config-dir", "my", "mask=strict", "experiment=day", "mask.alpha=2.5")
    strict = f"conf/mask/strict.yaml, line {line_of('mask/strict.yaml', 'alpha:')}: 1.5"
    assert found["value"] == "2.5"
    assert found["set in"] == f"{strict}; then my/experiment/day.yaml, line 5: 4.0; then command line: 2.5"
    assert rows("images", "images=a.tif")["set in"].endswith("; then command line: a.tif")
    assert rows("integ.npt_azim")["value"] == "not in this configuration; say integ=cake"
    assert rows("integ.npt_azim", "integ=cake")["value"] == "360"


def test_words_of_a_run_alone_say_what_they_change() -> None:
    told = call("config", "mask=strict", "integ.npt=99")
    lines = {line.split()[0]: line for line in told.out.splitlines()}
    assert list(lines) == ["mask.edge", "mask.lower_thresh", "mask.upper_thresh", "mask.alpha", "integ.npt"]
    assert lines["integ.npt"].endswith("99 (default 1480; command line)")
    assert call("config", "mask=default").out == "nothing differs from the defaults\n"


def test_a_search_finds_names_and_meanings_and_a_typo_the_nearest_key() -> None:
    found = call("config", "threshold").out
    assert "mask.lower_thresh" in found
    assert "mask.grow" in found
    assert "mask=robust" in call("config", "hot", "pixel").out
    assert call("config", "mask.alhpa").out == "no key is called 'mask.alhpa'; did you mean mask.alpha?\n"
    told = call("config", "zzz")
    assert (told.status, told.out) == (2, "")
    assert "no key has zzz" in told.err
    for words in (["mask.alpha", "-m"], ["mask.alpha", "mask=nope"], ["--config-dir", "nowhere"]):
        told = call("config", *words)
        assert (told.status, told.out) == (2, ""), words


def test_the_overview_has_every_option_and_a_group_every_key() -> None:
    overview = call("config").out
    for path in conf_dir().glob("[!h]*/*.yaml"):
        assert f"  {path.parent.name}={path.stem}" in overview
    for key, _ in every_key():
        if "." in key:
            assert f"  {key} " in call("config", key.partition(".")[0]).out


@pytest.mark.slow
def test_every_key_says_what_is_allowed_in_the_words_of_its_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {key for key, _ in every_key() if not allowed(key)}
    assert all(key.startswith(("plot.image.", "plot.pattern.", "integ.method", "geometry.position")) for key in free), (
        free
    )
    assert allowed("mask.auto_type") == "median, mean, mad, sigma_clip"
    assert allowed("mask.grow") == "a number of pixels from 0 to 100"
    assert allowed("integ.radial_range") == "two numbers, the smaller one first, or null"
    number = "a number, an expression of header values or table.csv:column, or null"
    assert allowed("geometry.dist") == f"a length in m > 0; {number}"
    assert allowed("parallel.n_jobs") == "-1 (all cores) or a number >= 1"
    assert "allowed" not in call("config", "integ.method").out
    monkeypatch.chdir(tmp_path)
    told = call("mask.grow=200", "source=demo")
    assert told.err == "xrdpipe: mask.grow=200: a number of pixels from 0 to 100 expected\n"
    assert list(tmp_path.iterdir()) == []  # the demo makes no frames for a run that is refused
    assert effect("plot.waterfall.lines").startswith("Largest number of patterns")
    assert effect("nothing.at.all") == ""


def test_the_pages_and_pictures_exist() -> None:
    keys = {key for key, _ in every_key()}
    for name, files in {**PAGES, "": (ALL, "")}.items():
        assert not name or name in keys or any(key.startswith(f"{name}.") for key in keys)
        for file in files:
            assert not file or os.path.isfile(ROOT / file), file


def test_hostile_words_are_no_commands_to_the_terminal() -> None:
    told = call("config", "\x1b]0;x\x07", "mask")
    assert "\x1b" not in told.out + told.err
    assert "\x1b" not in call("config", "images", "images=\x1b[2J.tif").out
