"""What a user may type, and what Hydra makes of it. Every rule is checked in a composed configuration."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.utils import get_args
from hypothesis import assume, example, given
from hypothesis import strategies as st
from override_texts import PATIENT, TEXT, arrived, arrived_in_jobs, reads

from xrdpipe.config.arguments import WORDS, UsageError, parse, translate

HARD_NAMES = [
    "a=b.tif",
    "poni=b.tif",
    "+x=1.tif",
    "++mask.alpha=1.tif",
    "~.tif",
    "~plot",
    "~plot=none",
    "x,y.tif",
    "[0-9].tif",
    "[a,b]",
    "it's.tif",
    'say "a".tif',
    "'quoted'.tif",
    "back\\slash.tif",
    "end\\",
    "a b.tif",
    " leading and trailing ",
    "été#1.tif",
    "資料.tif",
    "${x}.tif",
    "\\${x}.tif",
    "$HOME.tif",
    "x;y&z!.tif",
    "{a:1}.tif",
    "choice(a,b)",
    "new\nline.tif",
    "-dash.tif",
    "-m.tif",
    "-c=1.tif",
    "--cfg.tif",
    "--foo=1.tif",
    "1e5",
    "2024_01_15",
    "true",
    "undecodable\udcff.tif",
]


def made(name: str) -> bool:
    """Whether this file system takes a file of that name; it exists then."""
    try:
        Path(name).touch()
    except (OSError, UnicodeError):
        return False
    return True


@pytest.mark.parametrize("name", HARD_NAMES)
def test_an_existing_file_is_an_image_whatever_its_name(name: str, folder: Path) -> None:
    if not made(name):
        pytest.skip("this file system has no such name")
    command = parse(["npt=5", name, "-m"])
    assert [Path(image) for image in command.images] == [Path(name)]
    assert command.overrides == ["npt=5"]
    assert command.options.multirun


def test_an_existing_file_is_a_path_in_a_path_key_whatever_its_name(folder: Path, compose_words: Any) -> None:
    for name in filter(made, HARD_NAMES):
        assert arrived(translate([f"images={name}"])[0][0]) == name
        assert arrived_in_jobs(f"images={name}") == [name]
    config = compose_words("images=${x}.tif", "poni='quoted'.tif", "mask.file=[a,b]")
    assert (config.images, config.poni, config.mask.file) == ("${x}.tif", "'quoted'.tif", "[a,b]")


def test_existing_folders_are_images_too(folder: Path) -> None:
    (folder / "T=300").mkdir()
    assert translate(["T=300"]) == ([], ["T=300"])


def test_globs_lists_and_missing_files_are_images_in_the_order_typed() -> None:
    words = [
        "data/*.tif",
        "**/x_?.tif",
        "@list.txt",
        "[0-9].tif",
        "gone.tif",
        "~/data/x.tif",
        "/no/T=3/*.tif",
        "./a=b/*",
    ]
    assert translate(words) == ([], words)


def test_a_glob_in_a_folder_with_an_equals_sign_is_an_image_when_the_folder_exists(folder: Path) -> None:
    assert translate(["T=300/*.tif"]) == (["T=300/*.tif"], [])
    (folder / "T=300").mkdir()
    assert translate(["T=300/*.tif", "T=300/gone.tif", "T=300/**/*.tif"])[0] == []


def test_a_list_file_may_have_an_equals_sign(folder: Path) -> None:
    (folder / "run=3.txt").touch()
    assert translate(["@run=3.txt"]) == ([], ["@run=3.txt"])


def test_deletions_stay_hydras(folder: Path, compose_words: Any) -> None:
    assert "plot" not in compose_words("~plot")
    assert "edge" not in compose_words("~mask.edge=30").mask
    assert translate(["~mask.edge", "~group=option"]) == (["~mask.edge", "~group=option"], [])


def test_many_bare_paths_never_pass_through_hydras_grammar() -> None:
    paths = [f"/data/frame_{number:05d}.tif" for number in range(50_000)]
    assert parse([*paths, "-m", "npt=1,2"])[1:] == (["npt=1,2"], paths)


@pytest.mark.parametrize("word", ["", " ", "=x", "+=x", "@=x", " =x", "mask..alpha=3", "mask alpha=3", "é=3", "-1=3"])
def test_a_word_that_is_neither_override_nor_path_is_named(word: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(["--", word])
    assert repr(word) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "word",
    ["npt=2048", "mask=strict", "mask.alpha=1.5,2", "+new=[1,'a b',{c: null}]", "unit=2th_deg", "unit='a b'",
     "unit=${npt}", "++mask.edge=range(1,3)", "hydra/launcher=joblib", "db@a.b=c",
     "unit=", "~plot=image", "mask.alpha=interval(1,2)"],
)  # fmt: skip
@pytest.mark.parametrize("multirun", [False, True])
def test_what_hydra_reads_passes_unchanged(word: str, multirun: bool) -> None:
    assert translate([word], multirun=multirun) == ([word], [])


def test_what_hydra_cannot_read_is_text(compose_words: Any) -> None:
    config = compose_words(
        "unit=q_A^-1", "plot.color=#ff0000", "plot.label=I(q), a=1 é${x}", "+plot.title=it's", "npt=5"
    )
    assert config.unit == "q_A^-1"
    assert dict(config.plot) == {"color": "#ff0000", "label": "I(q), a=1 é${x}", "title": "it's"}
    assert config.npt == 5


@PATIENT
@given(text=TEXT)
@example("q_A^-1 ")
@example("9" * 5000)
def test_every_text_hydra_cannot_read_arrives_as_typed(text: str) -> None:
    assume(not reads(f"unit={text}") and not WORDS.fullmatch(text))
    (override,) = translate([f"unit={text}"])[0]
    assert arrived(override) == text
    if "," not in text:
        assert arrived_in_jobs(f"unit={text}") == [text]


def test_a_list_of_words_that_hydra_cannot_read_is_a_list() -> None:
    assert arrived(translate(["unit=[2th_deg, q_A^-1,3]"])[0][0]) == ["2th_deg", "q_A^-1", 3]


def test_a_value_too_deep_for_hydra_is_text() -> None:
    deep = "[" * 1100 + "a" + "]" * 1100
    assert arrived(translate([f"unit={deep}"])[0][0]) == deep


@PATIENT
@given(words=st.lists(TEXT | TEXT.map("mask.file={}".format) | TEXT.map("unit={}".format)), multirun=st.booleans())
def test_whatever_is_typed_is_a_path_or_readable_by_hydra_or_a_usage_error(words: list[str], multirun: bool) -> None:
    try:
        overrides, images = translate(words, multirun=multirun)
    except UsageError:
        return
    assert all(map(reads, overrides))
    assert len(overrides) + len(images) == len(words)
    assert all(word in words for word in images)


@pytest.mark.parametrize(
    "options",
    ["", "-m", "--multirun", "-r", "--cfg job", "--cfg=job", "-c job --resolve", "-c all -p mask",
     "--package mask -c job", "-cd d -cn n", "--config-dir d --config-name n", "--config-path p",
     "-cp p", "--info", "-i", "--info config", "-i plugins", "--info=searchpath",
     "--shell-completion", "-sc", "--hydra-help", "--help", "-h"],
)  # fmt: skip
def test_hydras_options_mean_the_same_anywhere_on_the_line(options: str) -> None:
    words = ["npt=5", "data/*.tif", "mask=strict", "-1"]
    expected = vars(get_args([*words, *options.split()]))
    for at in range(len(words) + 1):
        command = parse([*words[:at], *options.split(), *words[at:]])
        assert vars(command.options) == expected
        assert command.overrides == ["npt=5", "mask=strict"]
        assert command.images == ["data/*.tif", "-1"]


def test_options_may_be_spread_over_the_line() -> None:
    command = parse(["a=1", "--config-dir", "d", "b=2", "x.tif", "-m", "c=3", "--config-name", "n"])
    assert (command.options.config_dir, command.options.config_name, command.options.multirun) == ("d", "n", True)
    assert (command.overrides, command.images) == (["a=1", "b=2", "c=3"], ["x.tif"])


def test_two_dashes_end_the_options() -> None:
    command = parse(["-m", "a=1", "--", "-x.tif", "--info", "b=2", "--"])
    assert (command.overrides, command.images) == (["a=1", "b=2"], ["-x.tif", "--info", "--"])
    assert parse(["--", "-m"]).images == ["-m"]
    assert parse([]) == parse(["--"])


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("--foo", "--info"),
        ("--multi-run", "--multirun"),
        ("--config-dri=x", "--config-dir"),
        ("--dry-run", "--run"),
        ("--hel", "--help"),
        ("--vers", "--version"),
        ("-x", "-"),
    ],
)
def test_an_unknown_option_is_refused_with_the_nearest_one(word: str, nearest: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(["npt=5", word, "x.tif"])
    assert repr(word) in str(error.value)
    assert f"nearest is {nearest}" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "words", [["--cfg"], ["--cfg", "nope"], ["-cd"], ["--conf", "x"], ["--multirun=3"], ["-mask.tif"]]
)
def test_a_wrong_option_is_an_exception_of_one_line_and_nothing_is_printed(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError) as error:
        parse(words)
    assert "\n" not in str(error.value)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("words", [["--experimental-rerun", "x"], ["--experimental-rerun=x"]])
def test_a_pickle_is_never_loaded(words: list[str]) -> None:
    with pytest.raises(UsageError, match="pickle"):
        parse(words)


def test_importing_the_module_does_not_import_hydra() -> None:
    code = "import sys, xrdpipe.config.arguments; assert not {'hydra', 'omegaconf', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
