"""What a user may type, and what Hydra makes of it. Every rule is checked in a composed configuration."""

from __future__ import annotations

from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.types import Quote, QuotedString
from hypothesis import assume, example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from override_texts import PATIENT, TEXT, arrived, arrived_in_jobs, jobs, reads

from xrdpipe.config.arguments import FILE_KEYS, PATH_KEYS, UsageError, parse, quoted, translate

PLAIN = st.text("abz019_-./#^&;!~=+*%\u00e9\u8cc7${}", min_size=1, max_size=12).filter(lambda text: text != "???")


@pytest.fixture
def compose_jobs(conf: str) -> Any:
    def composed(*words: str, hydra: bool = False) -> list[Any]:
        """The configurations of a sweep's jobs."""
        with initialize_config_dir(conf, version_base=None):
            return [compose("config", overrides=job, return_hydra_config=hydra) for job in jobs(*words)]

    return composed


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
