"""What a user may type, and what Hydra makes of it. Every rule is checked in a composed configuration."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from xrdpipe.config.arguments import FILE_KEYS, PATH_KEYS, UsageError, parse, quoted, translate

CONFIG = """
poni: null
images: null
output_dir: null
unit: q_A^-1
npt: 1480
background: {file: null, dark_file: null}
correction: {flat_file: null}
mask: {file: null, alpha: 2.0, edge: 30}
source: {folder: null}
plot: {color: null, label: null}
"""

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

SPECIAL = "'\"\\${}[](),=: \t\n#^&;!~@+-*?/%|<>.0159_eax\u00e9\u8cc7"
TEXT = st.text(st.sampled_from(SPECIAL) | st.characters(), max_size=20)
PATIENT = settings(deadline=None, max_examples=60)
PLAIN = st.text("abz019_-./#^&;!~=+*%\u00e9\u8cc7${}", min_size=1, max_size=12).filter(lambda text: text != "???")


@pytest.fixture(scope="session")
def conf(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("conf")
    (folder / "config.yaml").write_text(CONFIG)
    return str(folder)


@pytest.fixture
def compose_words(conf: str) -> Any:
    def composed(*words: str, hydra: bool = False) -> Any:
        """The configuration Hydra composes from these words."""
        with initialize_config_dir(conf, version_base=None):
            return compose("config", overrides=translate(words)[0], return_hydra_config=hydra)

    return composed


@pytest.fixture
def compose_jobs(conf: str) -> Any:
    def composed(*words: str, hydra: bool = False) -> list[Any]:
        """The configurations of a sweep's jobs."""
        with initialize_config_dir(conf, version_base=None):
            return [compose("config", overrides=job, return_hydra_config=hydra) for job in jobs(*words)]

    return composed


def jobs(*words: str) -> list[list[str]]:
    """Hydra's overrides for each job of a sweep."""
    overrides = OverridesParser.create().parse_overrides(translate(words, multirun=True)[0])
    return BasicSweeper.split_arguments(overrides, None)[0]


def arrived(override: str) -> Any:
    """The value in the configuration after Hydra has read the override and OmegaConf has merged it."""
    read = OverridesParser.create().parse_override(override)
    config = OmegaConf.create({"value": None})
    OmegaConf.update(config, "value", read.value())
    return OmegaConf.to_container(config, resolve=True)["value"]  # type: ignore[index, call-overload]


def arrived_in_jobs(word: str) -> list[Any]:
    return [arrived(override) for (override,) in jobs(word)]


def reads(override: str) -> bool:
    try:
        OverridesParser.create().parse_override(override)
    except (HydraException, ValueError):
        return False
    return True


def made(name: str) -> bool:
    """Whether this file system takes a file of that name; it exists then."""
    try:
        Path(name).touch()
    except (OSError, UnicodeError):
        return False
    return True


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- bare paths


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


# --- path keys


@pytest.mark.parametrize(
    "text",
    ["2024_01_15", "1e5", "true", "x#y", "été", "a b", "it's", "$HOME/x", "${x}", "a,b", "choice(a,b)", "~/x", "q=1"],
)
def test_the_value_of_a_path_key_is_text(text: str, compose_words: Any) -> None:
    prefix = {"poni": "+", "source.pattern": "+", "mask.file": "++"}
    config = compose_words(*(f"{prefix.get(key, '')}{key}={text}" for key in PATH_KEYS), hydra=True)
    assert {key: OmegaConf.select(config, key) for key in PATH_KEYS} == dict.fromkeys(PATH_KEYS, text)


@PATIENT
@given(text=TEXT)
@example("\\${x}")
@example("\\\\${x}\\")
@example("'\\'${")
@example("a'b")
@example("???")
@example("NULL")
def test_every_text_arrives_in_a_path_key_as_typed(text: str) -> None:
    assume(text.strip()[:1] not in ("'", '"') or text.strip()[-1:] != text.strip()[:1])  # quoted: below
    expected = None if text.strip().lower() in ("", "null") else "./???" if text == "???" else text
    (override,) = translate([f"+poni={text}"])[0]
    assert arrived(override) == expected
    assert [arrived(job) for (job,) in jobs(f"hydra.sweep.dir={text}")] == [expected]
    if "," not in text and not text.startswith(("choice(", "range(")):
        assert arrived_in_jobs(f"poni={text}") == [expected]


@PATIENT
@given(text=TEXT, quote=st.sampled_from(Quote))
@example("a,b", Quote.double)
@example("null", Quote.single)
def test_quotes_that_reach_us_make_any_value_one_text(text: str, quote: Quote) -> None:
    value = QuotedString(text, quote).with_quotes()
    expected = "./???" if text == "???" else text
    assert arrived(translate([f"poni={value}"])[0][0]) == expected
    assert arrived_in_jobs(f"poni={value}") == [expected]


@PATIENT
@given(text=TEXT)
def test_quoted_is_the_way_in_for_any_text(text: str) -> None:
    assume(text != "???")
    assert arrived(f"x={quoted(text)}") == text
    assert arrived(f"x=[{quoted(text)},{quoted('b')}]") == [text, "b"]


@pytest.mark.parametrize("value", ["null", "NULL", "", " "])
def test_null_and_nothing_leave_a_path_out(value: str, compose_words: Any) -> None:
    assert compose_words("mask.file=x", f"mask.file={value}").mask.file is None


@pytest.mark.parametrize("key", sorted(FILE_KEYS))
def test_a_list_of_files_keeps_every_element_as_text(key: str, compose_words: Any) -> None:
    config = compose_words(f"{key}=[2024_01_15, b c,d#e,it's,null,'x, y','${{z}}',[0-9].tif,x{{1,2}}.tif,???]")
    expected = ["2024_01_15", "b c", "d#e", "it's", "null", "x, y", "${z}", "[0-9].tif", "x{1,2}.tif", "./???"]
    assert list(OmegaConf.select(config, key)) == expected
    assert translate([f"{key}=[]"]) == ([f"{key}=[]"], [])


@pytest.mark.slow
@PATIENT
@given(texts=st.lists(TEXT.filter(lambda text: text != "???"), min_size=1, max_size=4), quote=st.sampled_from(Quote))
def test_any_text_can_be_an_element_when_quoted(texts: list[str], quote: Quote) -> None:
    elements = [QuotedString(text, quote).with_quotes() for text in texts]
    assert arrived(translate([f"images=[{','.join(elements)}]"])[0][0]) == texts
    assert arrived_in_jobs(f"images=[{' , '.join(elements)}]") == [texts]
    assert arrived_in_jobs(f"images={','.join(elements)}") == texts


@PATIENT
@given(texts=st.lists(PLAIN, min_size=2, max_size=4))
def test_elements_without_commas_and_brackets_need_no_quotes(texts: list[str]) -> None:
    assume(not any(reads("x=" + text) and "null" in text.lower() for text in texts))
    listed = ",".join(texts).replace("{", "").replace("}", "")
    expected = listed.split(",")
    assume(all(expected))
    assert arrived(translate([f"mask.file=[{listed}]"])[0][0]) == expected
    assert arrived_in_jobs(f"output_dir={listed}") == expected


@pytest.mark.parametrize("text", ["[0-9]", "[ab]_[0-9].tif", "[a[.tif,b]", "[0-9].tif", "x[1,2].tif"])
def test_brackets_of_a_glob_are_no_list(text: str, compose_words: Any) -> None:
    assert compose_words(f"images={text}").images == ([text[1:-1]] if text == "[0-9]" else text)
    assert compose_words(f"output_dir={text}").output_dir == text


@pytest.mark.parametrize("word", ["images=[a,,b]", "images=[a,]", "images=a,,b", "images=a,"])
def test_a_comma_too_many_is_an_error(word: str) -> None:
    with pytest.raises(UsageError, match="nothing between two commas"):
        translate([word], multirun=True)


# --- sweeps


def test_commas_separate_the_paths_of_a_sweep(compose_jobs: Any) -> None:
    found = compose_jobs("background.file=air.tif,null,'a,b.tif',x(1,2).tif,2024_01_15")
    assert [job.background.file for job in found] == ["air.tif", None, "a,b.tif", "x(1,2).tif", "2024_01_15"]
    assert [list(job.images) for job in compose_jobs("images=[a,b],[c#]")] == [["a", "b"], ["c#"]]


def test_a_comma_is_part_of_a_path_where_nothing_is_swept(compose_words: Any) -> None:
    assert compose_words("images=a,b.tif").images == "a,b.tif"


def test_the_folder_of_a_sweep_is_never_swept(compose_jobs: Any) -> None:
    assert [job.hydra.sweep.dir for job in compose_jobs("hydra.sweep.dir=a,b", hydra=True)] == ["a,b"]


def test_sweep_functions_of_hydra_work_for_paths(compose_jobs: Any) -> None:
    assert [job.output_dir for job in compose_jobs("output_dir=choice(a,'b c')")] == ["a", "b c"]
    assert [job.output_dir for job in compose_jobs("output_dir=range(1,3)")] == [1, 2]
    assert [job.output_dir for job in compose_jobs("output_dir=data(1)")] == ["data(1)"]


def test_a_sweep_quotes_only_what_hydra_cannot_read(compose_jobs: Any) -> None:
    assert translate(["unit=q_A^-1, 2th_deg"], multirun=True)[0] == ["unit='q_A^-1',2th_deg"]
    found = compose_jobs("unit=q_A^-1,2th_deg,d*2_A^-2,'a,b'", "mask={edge: 1},{edge: 2}")
    assert len(found) == 4 * 2
    assert [job.unit for job in found[::2]] == ["q_A^-1", "2th_deg", "d*2_A^-2", "a,b"]
    assert found[1].mask.edge == 2


def test_a_sweep_may_be_asked_for_by_hydra_mode() -> None:
    assert parse(["hydra.mode=MULTIRUN", "unit=a^,b"]).overrides[1] == "unit='a^',b"


# --- any other key


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
    assume(not reads(f"unit={text}"))
    (override,) = translate([f"unit={text}"])[0]
    assert arrived(override) == text
    if "," not in text:
        assert arrived_in_jobs(f"unit={text}") == [text]


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


# --- options


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
