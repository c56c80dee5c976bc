"""What the fuzzer feeds the program: spoiled files, and text and command lines that hypothesis makes."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fuzz_files import HUGE, images, lies, spoil
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tiny import TINY

from xrdpipe.config.arguments import PATH_KEYS
from xrdpipe.config.loader import conf_dir, shipped_defaults

Value = TypeVar("Value")

BATCH = 20  # frames a run: each fails alone
QUIET = ("poni=good.poni", "plot=none", "integ.npt=100", "report=false", "quiet=true", "parallel=serial")
ODD = ["0", "-1", "nan", "inf", "-inf", "1e308", "1e-308", "1e999", "null", "true", "[]", "{}", "[1,2]", "'", '"', "\\"]
ODD += [
    "${",
    "${mask.alpha}",
    "${a:b}",
    "${oc.env:HOME}",
    "???",
    "~",
    "[[",
    "1_000",
    "0x10",
    "1:30",
    "2026-01-01",
    "a=b",
]
ODD += [
    "@",
    "*",
    "%d",
    "{0}",
    "::",
    "::[0]",
    "\N{SNOWMAN}",
    "\0",
    "\ud800",
    "\udcff",
    "\x1b[31m",
    "",
    "a b",
    "\t",
    "a\nb",
    "_",
]
ODD += ["9" * 400, "x" * 5000]
ODD += ["[" * 300, "{" * 300, "[" * 300 + "]" * 300]


@dataclass(frozen=True)
class Case:
    """Files of a folder, and the command lines that meet them there; ``spoiled`` are the names of the inputs in it.

    ``good``: a result that must be there in the end, whatever the others are.
    """

    kind: str
    name: str
    files: dict[str, bytes]
    commands: list[list[str]]
    spoiled: tuple[str, ...] = ()
    good: str = ""

    @property
    def inputs(self) -> int:
        return max(1, len(self.spoiled))

    def alone(self, name: str) -> Case:
        """The same with one of the spoiled files only."""
        others = {each for each in self.spoiled if each != name}
        words = [[word for word in command if word not in others] for command in self.commands]
        return Case(self.kind, f"{self.name}-{name}", self.files, words, (name,), self.good)


def _good(*names: str) -> dict[str, bytes]:
    made = {"good.poni": TINY.poni_text().encode(), "good.tif": images()["plain.tif"]}
    return {name: made[name] for name in names} if names else made | {"linked.h5": images()["nexus.nxs"]}


def frames(count: int) -> Iterator[Case]:
    """Frames in batches; to every other one a good frame is added, which must be done."""
    lying, dice = list(lies().items()), random.Random("frames")
    for batch in range(-(-count // BATCH)):
        size = min(BATCH, count - batch * BATCH)
        spoiled: dict[str, bytes] = {}
        for number in range(size):
            if lying:
                name, content = lying.pop()
            else:
                name, content = dice.choice(list(images().items()))
                content = spoil(content, dice)
            spoiled[f"{number}_{name}"] = content
        good = "out/good.chi" if batch % 2 else ""
        run = [*QUIET, "output_dir=out", *spoiled, *(["good.tif"] if good else [])]
        yield Case("frames", str(batch), _good() | spoiled, [["inspect", *spoiled], run], tuple(spoiled), good)


def masks(count: int) -> Iterator[Case]:
    """Mask, background, dark and flat files, one a run."""
    lying, dice = list(lies().items()), random.Random("masks")
    for number in range(count):
        key = dice.choice(("mask.file", "mask.file", "background.file", "background.dark_file", "correction.flat_file"))
        name, content = dice.choice(list(images("mask" if key == "mask.file" else "counts").items()))
        name, content = lying.pop() if lying else (name, spoil(content, dice))
        # As a glob the words are always the same, and composed once.
        words = [*QUIET, f"{key}={name if 'flat' in key else 'bad_*'}", "good.tif", "output_dir=out"]
        name = name if "flat" in key else f"bad_{name}"
        yield Case("masks", str(number), _good() | {name: content}, [words], (name,))


USUAL = st.integers(-2, 50).map(str) | st.floats(-3, 1000).map(str) | st.sampled_from(["true", "null", "2th_deg"])
TEXT = st.one_of(USUAL, st.sampled_from(ODD), st.sampled_from([str(each) for each in HUGE]), st.text(max_size=30))


@st.composite
def edited(draw: st.DrawFn, seeds: Sequence[str]) -> str:
    """One of the texts with lines taken away, doubled and moved, and values that are others."""
    lines = draw(st.sampled_from(seeds)).splitlines()
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        way = draw(st.sampled_from(("value", "value", "number", "line", "put")))
        indent = re.match(r"\s*", lines[at])[0]  # type: ignore[index]
        if way == "value":
            lines[at] = re.sub(r":.*", lambda _: ": " + draw(TEXT), lines[at], count=1)
        elif way == "number":
            lines[at] = re.sub(r"(?<![\w.])-?\d[\d.e-]*", lambda _: draw(TEXT), lines[at], count=1)
        elif way == "line":
            lines[at : at + 1] = draw(st.sampled_from(([], [lines[at]] * 2, [f"  {lines[at]}"], [lines[at].strip()])))
        else:
            lines.insert(at, indent + draw(TEXT) + draw(st.sampled_from((":", ": ", ""))) + draw(TEXT))
        lines = lines or [""]
    return "\n".join(lines) + "\n"


def ponis() -> st.SearchStrategy[str]:
    """PONI files of every version, JSON configurations of pyFAI, and what is nearly one."""
    plain = TINY.poni_text()
    config = '{"pixel1": 0.001, "pixel2": 0.001, "max_shape": null, "orientation": 3}'
    version_1 = "PixelSize1: 0.001\nPixelSize2: 0.001\n" + re.sub(r"(?m)^(poni_version|Detector).*\n", "", plain)
    version_21 = re.sub("(?m)^Detector_config:.*", f"Detector_config: {config}", plain).replace(
        "poni_version: 2\n", "poni_version: 2.1\n"
    )
    geometry = {"dist": 0.5, "poni1": 0.05, "poni2": 0.05, "rot1": 0, "rot2": 0, "rot3": 0, "wavelength": 1e-11}
    values = {"poni_version": 2.1, **geometry, "detector": "Detector", "detector_config": json.loads(config)}
    numbers = st.one_of(st.floats(), st.sampled_from(HUGE), st.text(max_size=5), st.none(), st.lists(st.integers()))
    keys = st.sampled_from(list(values))
    json_values = st.recursive(numbers, lambda inner: st.dictionaries(keys, inner), max_leaves=4)
    detectors = st.sampled_from(["Pilatus1M", "Eiger16M", "NexusDetector", "ImXPadS10", "Cirpad", "Xpad_flat", "Titan"])
    options = ["pixel1", "pixel2", "max_shape", "orientation", "filename", "splineFile", "n_modules"]
    named = st.builds(
        lambda name, config: re.sub(
            "Detector: .*\nDetector_config: .*", lambda _: f"Detector: {name}\nDetector_config: {config}", plain
        ),
        detectors | TEXT,
        st.dictionaries(st.sampled_from(options), json_values).map(json.dumps),
    )
    made = st.builds(
        lambda change, nested: json.dumps({"poni": {**values, **change}, "version": 4} if nested else values | change),
        st.dictionaries(st.sampled_from(list(values)), json_values, max_size=3),
        st.booleans(),
    )
    return st.one_of(edited([plain, version_1, version_21]), edited([plain, version_1, version_21]), named, made)


def poni(count: int) -> Iterator[Case]:
    for number, text in enumerate(_examples(ponis(), count)):
        words = [*QUIET[1:], "poni=x.poni", "good.tif", "output_dir=out"]
        content = text.encode(errors="surrogatepass")
        yield Case("poni", str(number), _good("good.tif") | {"x.poni": content}, [words], ("x.poni",))


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
_YAMLS = """!!python/object/apply:os.system [touch evil];&a [*a];*nobody;{<<: &b {c: 1}, <<: *b};!!binary x;${mask};${.}
${..};${...alpha};${${mask.alpha}};${oc.decode:'[1'};${oc.create:{a: 1}};{_target_: os.system, command: touch evil}
!!timestamp 2026-13-99;.nan;0o17;? x;!!set {a, b};!!omap [a: 1];[1, [2, {a: b}]];{1: 2};{null: 1};{[1, 2]: 3}"""
YAMLS = _YAMLS.replace("\n", ";").split(";")


def yaml(count: int) -> Iterator[Case]:
    """Files of a --config-dir: experiments, options, one's own settings, the top."""
    shipped = {
        place: (conf_dir() / place).read_text(encoding="utf-8")
        for place in ("experiment/temperature_series.yaml", "mask/default.yaml", "integ/default.yaml", "config.yaml")
    }
    places = {
        "experiment/mine.yaml": (shipped["experiment/temperature_series.yaml"], "experiment=mine"),
        "mask/mine.yaml": (shipped["mask/default.yaml"], "mask=mine"),
        "integ/mine.yaml": (shipped["integ/default.yaml"], "integ=mine"),
        "local/default.yaml": ("# @package _global_\nmask:\n  alpha: 3\ninteg:\n  npt: 50\n", "local=default"),
        "top.yaml": ("defaults: [config, _self_]\noverwrite: true\nmask: {alpha: 2}\n", "--config-name=top"),
    }

    def files(place: str) -> st.SearchStrategy[tuple[str, str]]:
        text = edited([places[place][0]])
        hostile = st.builds(
            lambda text, value, nth: re.sub(r": .*", lambda _: f": {value}", text, count=nth),
            text,
            st.sampled_from(YAMLS),
            st.integers(1, 3),
        )
        return st.tuples(st.just(place), text | hostile)

    spoiled = st.sampled_from(list(places)).flatmap(files)
    laughs = [("mask/mine.yaml", LAUGHS), ("local/default.yaml", LAUGHS), ("top.yaml", f"{LAUGHS}mask: *h\n")]
    laughs = laughs[: count // 10]
    for number, (place, text) in enumerate([*laughs, *_examples(spoiled, count - len(laughs))]):
        words = [*QUIET, "good.tif", "output_dir=out", "--config-dir=conf", places[place][1]]
        name, content = f"conf/{place}", text.encode(errors="surrogatepass")
        yield Case("yaml", str(number), _good("good.poni", "good.tif") | {name: content}, [words], (name,))


def _keys(values: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield above + key
        if isinstance(value, dict):
            yield from _keys(value, f"{above}{key}.")


# What waits for files, or starts processes and clusters, would do just that; where results go is decided below.
_AWAY = ("output_dir", "source.folder", "parallel", "hydra.", "source._target_", "source=")
OPTIONS = [
    "-m",
    "--cfg=job",
    "--cfg=hydra",
    "--cfg=all",
    "--help",
    "--version",
    "--info",
    "--info=defaults",
    "--",
    "-c",
]
OPTIONS += ["--resolve", "--package=mask", "--config-name=x", "--config-dir=.", "--config-path=x", "-x", "-"]
OPTIONS += [
    "--shell-completion",
    "-sc",
    "query=bash",
    "--experimental-rerun=x",
    "dry_run=true",
    "mask=none",
    "plot=nope",
]
OPTIONS += [
    "experiment=pdf",
    "integ=cake",
    "integ=sectors",
    "integ=median",
    "mask=robust",
    "stages=[mask]",
    "stages=[]",
]
OPTIONS += ["mask=[none]", "--hydra-help", "mask.alpha=1,2", "integ.npt=range(1,3)"]


@st.composite
def words(draw: st.DrawFn) -> list[str]:
    """A command line: the usual one with words put in that are nearly right, and some that are not."""
    keys = sorted(key for key in _keys(shipped_defaults()) if not key.startswith(_AWAY))
    line = list(draw(st.sampled_from(((*QUIET, "good.tif"), QUIET, ("good.tif",), ()))))
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from(keys) | st.sampled_from(keys) | st.text(max_size=8))
        value = draw(st.one_of(TEXT, st.lists(TEXT, max_size=3).map(lambda each: f"[{','.join(each)}]"), TEXT))
        if key in PATH_KEYS:  # nothing outside the folder
            value = re.sub(r"[/~$]|\.\.", "_", value)
        prefix = draw(st.sampled_from(("", "", "", "", "+", "++", "~")))
        typed = f"{prefix}{key}{draw(st.sampled_from(('=', '=', '=', '=', '', '==', ':', '@')))}{value}"
        word = draw(st.sampled_from((typed, typed, typed, draw(TEXT), draw(st.sampled_from(OPTIONS)))))
        line.insert(draw(st.integers(0, len(line))), word)
    job = draw(st.sampled_from(([], [], [], [], [], [], ["inspect"], ["doctor"], ["report"], ["replay"])))
    line = [each for each in line if not re.search(r"watch|demo|dask|loky|install", each)]
    last = ["output_dir=out"] if not job or job == ["doctor"] else []
    return [*job, *line, *last, *(["hydra/launcher=basic"] if {"-m", "--multirun"} & set(line) else [])]


def lines(count: int) -> Iterator[Case]:
    for number, line in enumerate(_examples(words(), count)):
        yield Case("lines", str(number), _good("good.poni", "good.tif"), [line])


def _examples(strategy: st.SearchStrategy[Value], count: int) -> list[Value]:
    """What hypothesis makes of a strategy, the same every time."""
    found: list[Value] = []

    @settings(
        max_examples=max(1, count),
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Value) -> None:
        found.append(value)

    collect()
    return found[:count]


# of a hundred inputs
KINDS: dict[str, tuple[int, Callable[[int], Iterator[Case]]]] = {
    "frames": (80, frames),
    "masks": (8, masks),
    "poni": (4, poni),
    "yaml": (4, yaml),
    "lines": (4, lines),
}
