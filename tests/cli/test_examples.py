"""The 14 examples of PDFstream's documentation, as command line and in Python: the table says how each is written."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tifffile
from command import call, results, tree

from xrdpipe import integrate


class Example(NamedTuple):
    """What PDFstream's example does; the words after `xrdpipe`; the arguments of `integrate`; what must be true."""

    does: str
    words: str
    python: tuple[tuple[str, ...], dict[str, Any]]
    holds: Callable[[Path, Callable[[], Path]], object]  # of the folder of results, and of those of example 1


def chi(folder: Path, name: str = "a") -> Any:
    return np.loadtxt(folder / f"{name}.chi", unpack=True)


def mask(folder: Path) -> Any:
    return np.load(folder / "masks" / "a.npy")


def differ(first: Path, second: Path, file: str) -> bool:
    return (first / file).read_bytes() != (second / file).read_bytes()


STRICT = {"alpha": 1.5, "lower_thresh": 1.0, "upper_thresh": 1e5, "edge": 50}
EXAMPLES = {
    1: Example(
        "one image, I(Q)",
        "a.tiff",
        (("a.tiff",), {}),
        lambda out, _: "q_A^-1" in (out / "a.chi").read_text() and (out / "figures" / "a_image.png").exists(),
    ),
    2: Example(
        "two images, one PONI",
        "a.tiff b.tiff",
        (("a.tiff", "b.tiff"), {}),
        lambda out, _: np.array_equal(chi(out, "a")[0], chi(out, "b")[0]),
    ),
    3: Example(
        "results into a folder, made if missing",
        "a.tiff output_dir=data",
        (("a.tiff",), {"output_dir": "data"}),
        lambda out, _: out.name == "data" and (out / "a.chi").exists(),
    ),
    4: Example(
        "subtract a background frame",
        "a.tiff background.file=background_diffraction.tiff",
        (("a.tiff",), {"background": {"file": "background_diffraction.tiff"}}),
        lambda out, plain: chi(out)[1].mean() < chi(plain())[1].mean(),
    ),
    5: Example(
        "background measured with ten times the beam",
        "a.tiff background.file=background_diffraction.tiff background.scale=0.1",
        (("a.tiff",), {"background": {"file": "background_diffraction.tiff", "scale": 0.1}}),
        lambda out, plain: 0.5 * chi(plain())[1].mean() < chi(out)[1].mean() < chi(plain())[1].mean(),
    ),
    6: Example(
        "tune the automatic mask",
        "a.tiff mask.alpha=1.5 mask.lower_thresh=1.0 mask.upper_thresh=1e5 mask.edge=50",
        (("a.tiff",), {"mask": STRICT}),
        lambda out, plain: mask(out).sum() > mask(plain()).sum() and mask(out)[:50].all(),
    ),
    7: Example(
        "own mask on top of the automatic one",
        "a.tiff mask.file=user_mask.npy",
        (("a.tiff",), {"mask": {"file": "user_mask.npy"}}),
        lambda out, plain: (mask(out) >= np.load("user_mask.npy")).all() and mask(out)[:30].all(),
    ),
    8: Example(
        "own mask alone",
        "a.tiff mask=none mask.file=user_mask.npy",
        (("a.tiff",), {"mask": ("none", {"file": "user_mask.npy"})}),
        lambda out, _: np.array_equal(mask(out), np.load("user_mask.npy")),
    ),
    9: Example(
        "no mask at all",
        "a.tiff mask=none",
        (("a.tiff",), {"mask": "none"}),
        lambda out, _: not mask(out).any(),
    ),
    10: Example(
        "I(2theta), 2048 points, numpy method",
        "a.tiff integ.npt=2048 integ.unit=2th_deg integ.method=numpy",
        (("a.tiff",), {"integ": {"npt": 2048, "unit": "2th_deg", "method": "numpy"}}),
        lambda out, _: re.search(r"# method: .*no split.*\n(#.*\n)*# *2th_deg", (out / "a.chi").read_text()),
    ),
    11: Example(
        "image with more contrast",
        "a.tiff plot.image.z_score=1",
        (("a.tiff",), {"plot": {"image": {"z_score": 1}}}),
        lambda out, plain: differ(out, plain(), "figures/a_image.png") and not differ(out, plain(), "a.chi"),
    ),
    12: Example(
        "pattern as a line with green circles",
        "a.tiff plot.pattern.marker=o plot.pattern.color=green",
        (("a.tiff",), {"plot": {"pattern": {"marker": "o", "color": "green"}}}),
        lambda out, plain: differ(out, plain(), "figures/a_pattern.png") and not differ(out, plain(), "a.chi"),
    ),
    13: Example(
        "no figures",
        "a.tiff plot=none",
        (("a.tiff",), {"plot": "none"}),
        lambda out, plain: not (out / "figures").exists() and not differ(out, plain(), "a.chi"),
    ),
    14: Example(
        "a long list of images in parallel, no figures",
        "images=many/*.tiff plot=none parallel.n_jobs=2",
        (("many/*.tiff",), {"plot": "none", "parallel": {"n_jobs": 2}}),
        lambda out, _: len(list(out.glob("*.chi"))) == 20,
    ),
}


@pytest.fixture
def here(tmp_path: Path, poni: Path, frames: list[Path], air: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as in the examples, with frames four times as large as usual: the masks have wide edges."""
    monkeypatch.chdir(tmp_path)
    text = poni.read_text().replace("[120, 100]", "[240, 200]").replace("0.001", "0.0005")
    Path("geometry.poni").write_text(text)
    Path("many").mkdir()
    names = ["a.tiff", "b.tiff", "background_diffraction.tiff", *(f"many/f_{number}.tiff" for number in range(20))]
    sources = [frames[0], frames[1], air, *(frames[number % 3] for number in range(20))]
    for name, source in zip(names, sources, strict=True):
        tifffile.imwrite(name, np.kron(tifffile.imread(source), np.ones((2, 2), np.uint16)))
    user = np.zeros((240, 200), np.uint8)
    user[100:120, 90:] = 1
    np.save("user_mask.npy", user)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("number", EXAMPLES, ids=[f"{number}: {each.does}" for number, each in EXAMPLES.items()])
def test_every_example_has_a_form_as_command_and_in_python(number: int, here: Path) -> None:
    example = EXAMPLES[number]
    words = example.words.split()
    folder = next((word.removeprefix("output_dir=") for word in words if word.startswith("output_dir=")), "command")
    into = [] if folder == "data" else ["output_dir=command"]
    told = call("poni=geometry.poni", *words, "output.mask=true", "report=false", *into)
    assert told.status == 0, told
    if folder == "data":
        (here / "data").rename(here / "command")
    images, keys = example.python
    more = {"output_dir": "python", "output": {"mask": True}, "report": False, **keys}
    run = integrate("geometry.poni", *images, **more)
    assert run.folder == Path(keys.get("output_dir", "python"))
    assert run.status == 0
    everything = ("*.chi", "masks/*.npy", "figures/*.png")
    assert results(here / "command", *everything) == results(here / run.folder, *everything) != {}

    @cache
    def plain() -> Path:
        more: dict[str, Any] = {"output_dir": here / "plain", "output": {"mask": True}, "report": False}
        return integrate("geometry.poni", "a.tiff", **more).folder or here

    assert example.holds(here / run.folder, plain)


ROW = re.compile(
    r"^\| (?P<number>\d+) \| [^|]+ \| `xrdpipe (?P<words>[^`]+)` \| `xrdpipe\.(?P<python>[^`]+)` \|$", re.MULTILINE
)
NAMES = {
    "another_sample_diffraction.tiff": "b.tiff",
    "sample_diffraction.tiff": "a.tiff",
    "'*_diffraction.tiff'": "many/*.tiff",
    '"*_diffraction.tiff"': '"many/*.tiff"',
}


def test_the_migration_page_writes_the_examples_in_this_way() -> None:
    page = (Path(__file__).parents[2] / "docs" / "migration.md").read_text(encoding="utf-8")
    for name, ours in NAMES.items():
        page = page.replace(name, ours)
    rows = {int(row["number"]): row for row in reversed(list(ROW.finditer(page)))}  # the first of two rows of a number
    assert set(rows) == set(EXAMPLES)
    for number, row in rows.items():
        (paths, keys), words = EXAMPLES[number].python, EXAMPLES[number].words.split()
        assert row["words"].split() == ["poni=geometry.poni", *(word for word in words if "parallel" not in word)]
        called = ast.parse(row["python"], mode="eval").body
        assert isinstance(called, ast.Call)
        assert [ast.literal_eval(each) for each in called.args] == ["geometry.poni", *paths]
        there = {each.arg: ast.literal_eval(each.value) for each in called.keywords}
        assert there == {key: value for key, value in keys.items() if key != "parallel"}


@pytest.mark.slow
def test_mask_strict_is_example_6_in_a_word(here: Path) -> None:
    tuned = integrate("geometry.poni", "a.tiff", mask=STRICT, output_dir="tuned")
    strict = integrate("geometry.poni", "a.tiff", mask="strict", output_dir="strict")
    assert np.array_equal(tuned.masks["a"], strict.masks["a"])
    assert results(here / "tuned") == results(here / "strict")


def test_without_a_folder_the_examples_write_into_outputs(here: Path) -> None:
    before = set(tree(here))
    run = integrate("geometry.poni", "a.tiff", plot="none")
    assert run.folder is not None
    assert run.folder.parts[0] == "outputs"
    assert all(name.startswith("outputs") for name in set(tree(here)) - before)
