"""What the fuzzer feeds the program: whole files of every format, then spoiled; text of hypothesis where it is text."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import random
import re
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import h5py
import hdf5plugin
import numpy as np
import tifffile
from conftest import TINY
from fabio.fabioformats import get_class_by_name
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from xrdpipe.argv import PATH_KEYS
from xrdpipe.config import conf_dir, defaults

SHAPE = TINY.shape
BATCH = 10  # frames a run: each fails alone
QUIET = ("poni=good.poni", "plot=none", "integ.npt=100", "report=false", "quiet=true", "parallel=serial")
HUGE = [0, 1, -1, 255, 2**15, 2**16 - 1, 2**20, 2**31 - 1, -(2**31), 2**32 - 1, 2**40, 2**62, -(2**63), 2**64 - 1]
ODD = ["", "0", "-1", "nan", "inf", "-inf", "1e308", "1e-308", "1e999", "9" * 400, "null", "true", "[]", "{}", "[1,2]"]
ODD += ["'", '"', "\\", "${", "${mask.alpha}", "${a:b}", "${oc.env:HOME}", "???", "~", "\N{SNOWMAN}", "a b", "\t", "[["]
ODD += ["1_000", "0x10", "1:30", "2026-01-01", "x" * 5000, "[" * 300, "{" * 300, "a=b", "@", "*", "%d", "{0}", "::", "::[0]"]


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


# Seeds


@cache
def images(pixels: str = "counts") -> dict[str, bytes]:
    """A small file of every format that can be written here, by name; ``pixels``: counts, or a mask of 0 and 1."""
    counts = np.random.default_rng(1).poisson(30, SHAPE).astype(np.uint16)
    image = counts if pixels == "counts" else (counts > 40).astype(np.uint8)
    stack = np.stack([image] * 3)
    made: dict[str, bytes] = {}

    def tiff(name: str, data: Any, **keys: Any) -> None:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, data, **{"photometric": "minisblack", **keys})
        made[name] = buffer.getvalue()

    tiff("plain.tif", image)
    tiff("motorola.tif", image, byteorder=">", description="temperature: 300\nI0 = 2")
    tiff("big.tif", image.astype(np.int32), bigtiff=True)
    tiff("float.tif", image.astype(np.float32))
    tiff("deflate.tif", image, compression="zlib", rowsperstrip=16)
    tiff("tiles.tif", image, tile=(32, 32), compression="zlib")
    tiff("pages.tif", stack)
    tiff("plane.mask", image.astype(np.uint8))
    for name, array in {"plain.npy": image, "stack.npy": stack, "float.npy": image.astype(">f8")}.items():
        buffer = io.BytesIO()
        np.save(buffer, array)
        made[name] = buffer.getvalue()
    with tempfile.TemporaryDirectory() as folder:

        def written(name: str, write: Callable[[str], object]) -> None:
            write(path := str(Path(folder, name)))
            made[name] = Path(path).read_bytes()

        for name, kind in {
            "plain.edf": "edfimage",
            "plain.cbf": "cbfimage",
            "plain.mccd": "marccdimage",
            "dtrek.img": "dtrekimage",
            "bruker.sfrm": "bruker100image",
            "oxford.img": "oxdimage",
            "fit2d.msk": "fit2dmaskimage",
        }.items():
            header = {"Title": "nickel", "temperature": "300", "motor_mne": "x y", "motor_pos": "1 2"}
            written(name, get_class_by_name(kind)(data=image, header=header if "edf" in kind else {}).write)
        made["plain.edf.gz"] = gzip.compress(made["plain.edf"], mtime=0)
        made["plain.edf.bz2"] = bz2.compress(made["plain.edf"])
        made["stack.edf"] = made["plain.edf"] * 2
        made["stack.ge3"] = bytes(8192) + b"".join(np.full((2048, 1), 1, "<u2").tobytes() for _ in range(8))
        for name, write in _HDF5.items():

            def make(path: str, write: Callable[[h5py.File, Any], None] = write) -> None:
                with h5py.File(path, "w", track_order=False) as file:
                    write(file, image)

            written(name, make)
    return made


def _eiger(file: h5py.File, image: Any) -> None:
    data = file.create_group("entry/data")
    data.create_dataset("data_000001", data=np.stack([image] * 2), chunks=(1, *SHAPE), **hdf5plugin.Bitshuffle())
    data["data_000002"] = h5py.ExternalLink("linked.h5", "/entry/data/data")
    file["entry/instrument/detector/pixel_mask"] = np.zeros(SHAPE, np.uint32)


def _nexus(file: h5py.File, image: Any) -> None:
    file.attrs["default"], file["entry/data/data"] = "entry", np.stack([image] * 2)
    file["entry"].attrs["default"], file["entry/data"].attrs["signal"] = "data", "data"
    file["entry/sample/temperature"] = [300.0, 301.0]


def _virtual(file: h5py.File, image: Any) -> None:
    file["raw"] = np.stack([image] * 2)
    layout = h5py.VirtualLayout((2, *SHAPE), image.dtype)
    layout[...] = h5py.VirtualSource(".", "raw", (2, *SHAPE))
    file.create_virtual_dataset("entry/data", layout)


def _packed(file: h5py.File, image: Any) -> None:
    file.create_dataset("data", data=np.stack([image] * 2), chunks=(1, 40, 50), compression="gzip", shuffle=True)


_HDF5: dict[str, Callable[[h5py.File, Any], None]] = {
    "plain.h5": lambda file, image: file.create_dataset("data", data=image) and None,
    "packed.h5": _packed,
    "lz4.h5": lambda file, image: file.create_dataset("data", data=image, chunks=SHAPE, **hdf5plugin.LZ4()) and None,
    "eiger_master.h5": _eiger,
    "nexus.nxs": _nexus,
    "virtual.h5": _virtual,
}


@cache
def lies() -> dict[str, bytes]:
    """Files of a few kilobytes whose headers speak of gigabytes and more."""
    made: dict[str, bytes] = {}

    def npy(name: str, shape: tuple[int, ...], kind: str = "<u2") -> None:
        text = str({"descr": kind, "fortran_order": False, "shape": shape})
        header = text.ljust(117).encode() + b"\n"
        made[name] = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(100)

    npy("square.npy", (10**9, 10**9))
    npy("six_gb.npy", (60_000, 50_000))
    npy("many.npy", (10**12, 100, 100))
    npy("empty_frames.npy", (10**12, 0, 5))
    npy("negative.npy", (-5, 100))
    npy("text.npy", (10, 10), "<U999999999")
    head = "{{\nHeaderID = EH:000001:000000:000000 ;\nImage = 1 ;\nByteOrder = LowByteFirst ;\nDataType = {} ;\n"
    head += "Dim_1 = {} ;\nDim_2 = {} ;\nSize = {} ;\n"
    for name, values in {
        "square.edf": ("UnsignedShort", 10**6, 10**6, 2 * 10**12),
        "six_gb.edf": ("FloatValue", 40_000, 40_000, 24_000),
        "digits.edf": ("UnsignedShort", "9" * 5000, 5, "9" * 5000),
    }.items():
        made[name] = head.format(*values).ljust(1022).encode() + b"}\n" + bytes(24_000)
    cbf, small = images()["plain.cbf"], gzip.compress(bytes(10 << 20), mtime=0)
    for name, size in {"square.cbf": b"1000000", "six_gb.cbf": b"40000"}.items():
        bigger = re.sub(rb"(Fastest|Second)-Dimension: \d+", rb"\1-Dimension: " + size, cbf)
        made[name] = re.sub(rb"Number-of-Elements: \d+", b"Number-of-Elements: " + str(int(size) ** 2).encode(), bigger)
    made["bomb.edf.gz"] = gzip.compress(images()["plain.edf"], mtime=0) + 400 * small
    made["bomb.cbf.gz"] = gzip.compress(cbf, mtime=0) + 400 * small
    made["bomb.tif.gz"] = 400 * small
    zeros = zlib.compress(bytes(10 << 20), 9)
    for name, side in {"square.tif": 2**31 - 1, "six_gb.tif": 50_000, "one_gb.tif": 32_000}.items():
        tags = [(256, 4, side), (257, 4, side), (258, 3, 16), (259, 3, 8), (262, 3, 1), (273, 4, 134), (277, 3, 1)]
        tags += [(278, 4, side), (279, 4, len(zeros))]
        entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
        made[name] = (b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)).ljust(134, b"\0") + zeros
    with tempfile.TemporaryDirectory() as folder:
        for name, shape, chunks, write in (
            ("square.h5", (1 << 20, 1 << 20), (1 << 10, 1 << 10), False),
            ("huge_chunk.h5", (30_000, 30_000), (30_000, 30_000), False),
            ("many.h5", (10**12, 10, 10), (1, 10, 10), True),
            ("many_in_one.h5", (10**9, 10, 10), (10**7, 10, 10), False),
            ("wide.h5", (10**9, 8, 8), (10**6, 8, 8), True),
        ):
            with h5py.File(path := Path(folder, name), "w") as file:
                data = file.create_dataset("data", shape, "u1", chunks=chunks, compression="gzip", compression_opts=1)
                if write:
                    data[0] = 1
            made[name] = path.read_bytes()
        for name, shape in {"virtual_many.h5": (10**13, 10, 10), "virtual_wide.h5": (10**9, 10, 10)}.items():
            with h5py.File(path := Path(folder, name), "w") as file:
                layout = h5py.VirtualLayout(shape, "u2")
                layout[0] = h5py.VirtualSource("gone.h5", "raw", (10, 10))
                file.create_virtual_dataset("data", layout)
            made[name] = path.read_bytes()
    return made


# Spoiling


def spoil(content: bytes, dice: random.Random) -> bytes:
    """The file with one to three things wrong in it: bytes, numbers of its header, its length."""
    spoiled = bytearray(content)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        dice.choice(_WAYS)(spoiled, dice)
    return bytes(spoiled)


def _place(content: bytearray, dice: random.Random) -> int:
    """Somewhere in the file; its two ends, where headers are, are more likely."""
    near = int(dice.paretovariate(0.4)) - 1
    at = dice.choice((near, near, len(content) - 1 - near, dice.randrange(1 << 30)))
    return at % max(1, len(content))


def _flip(content: bytearray, dice: random.Random) -> None:
    for _ in range(dice.choice((1, 1, 4, 50))):
        if content:
            content[_place(content, dice)] ^= 1 << dice.randrange(8)


def _number(content: bytearray, dice: random.Random) -> None:
    size, order = dice.choice((1, 2, 4, 8)), dice.choice(("little", "big"))
    at = _place(content, dice) // 2 * 2
    value = dice.choice(HUGE) if dice.random() < 0.7 else dice.randrange(1 << 8 * size)
    content[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, order)  # type: ignore[arg-type]


def _digits(content: bytearray, dice: random.Random) -> None:
    found = [match.span() for match in re.finditer(rb"-?\d+(\.\d+)?", bytes(content[:8192]))]
    if found:
        start, end = dice.choice(found)
        value = dice.choice([*map(str, HUGE), *ODD[:10]]).encode()
        content[start:end] = value.ljust(end - start) if dice.random() < 0.5 else value


def _truncate(content: bytearray, dice: random.Random) -> None:
    del content[_place(content, dice) :]


def _grow(content: bytearray, dice: random.Random) -> None:
    content += dice.choice((b"\0", b"}\n", bytes(content[:512]), dice.randbytes(5))) * dice.choice((1, 100, 1000))


def _cut(content: bytearray, dice: random.Random) -> None:
    at = _place(content, dice)
    del content[at : at + dice.choice((1, 2, 8, 100, 4096))]


def _repeat(content: bytearray, dice: random.Random) -> None:
    at, other = _place(content, dice), _place(content, dice)
    content[other:other] = content[at : at + dice.choice((1, 8, 64, 512))]


_WAYS = (_flip, _flip, _number, _number, _number, _digits, _digits, _truncate, _grow, _cut, _repeat)


# Kinds

Value = TypeVar("Value")


def _good(*names: str) -> dict[str, bytes]:
    made = {"good.poni": TINY.poni_text().encode(), "good.tif": images()["plain.tif"], "linked.h5": images()["nexus.nxs"]}
    return made if not names else {name: made[name] for name in names}


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
        words = [*QUIET, f"{key}={name}", "good.tif", "output_dir=out"]
        yield Case("masks", str(number), _good() | {name: content}, [words], (name,))


TEXT = st.one_of(st.sampled_from(ODD), st.sampled_from([str(each) for each in HUGE]), st.text(max_size=30))


@st.composite
def edited(draw: st.DrawFn, seeds: Sequence[str]) -> str:
    """One of the texts with lines taken away, doubled and moved, and values that are others."""
    lines = draw(st.sampled_from(seeds)).splitlines()
    for _ in range(draw(st.integers(0, 3))):
        at, way = draw(st.integers(0, len(lines) - 1)), draw(st.sampled_from(("value", "value", "number", "line", "put")))
        indent = re.match(r"\s*", lines[at])[0]  # type: ignore[index]
        if way == "value":
            lines[at] = re.sub(r":.*", lambda _: ": " + draw(TEXT), lines[at], count=1)  # noqa: B023
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
    json_values = st.recursive(numbers, lambda inner: st.dictionaries(st.sampled_from(list(values)), inner), max_leaves=4)
    detectors = st.sampled_from(["Pilatus1M", "Eiger16M", "NexusDetector", "Frelon", "ImXPadS10", "Cirpad", "Xpad_flat"])
    named = st.builds(
        lambda name, options: re.sub(
            "Detector: .*\nDetector_config: .*", lambda _: f"Detector: {name}\nDetector_config: {options}", plain
        ),
        detectors | TEXT,
        st.builds(
            json.dumps,
            st.dictionaries(
                st.sampled_from(["pixel1", "pixel2", "max_shape", "orientation", "filename", "splineFile", "n_modules"]),
                json_values,
            ),
        ),
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
YAMLS = ["!!python/object/apply:os.system [touch evil]", "&a [*a]", "*nobody", "{<<: &b {c: 1}, <<: *b}", "!!binary x"]
YAMLS += ["${mask}", "${.}", "${..}", "${...alpha}", "${${mask.alpha}}", "${oc.decode:'[1'}", "${oc.create:{a: 1}}"]
YAMLS += ["{_target_: os.system, command: touch evil}", "!!timestamp 2026-13-99", ".nan", "-.inf", "0o17", "? x", "|\n x"]


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
        "local/default.yaml": ("# @package _global_\nmask:\n  alpha: 3\nintegration: [1, 2]\n", "local=default"),
        "top.yaml": ("defaults: [config, _self_]\noverwrite: true\nmask: {alpha: 2}\n", "--config-name=top"),
    }
    spoiled = st.sampled_from(list(places)).flatmap(
        lambda place: st.tuples(
            st.just(place),
            st.one_of(
                edited([places[place][0]]),
                st.builds(
                    lambda text, odd: re.sub(r":(?: .*)?\n(?=\s*\w+: 1|\s*$|\w)", lambda _: f": {odd}\n", text, count=1),
                    edited([places[place][0]]),
                    st.sampled_from(YAMLS),
                ),
            ),
        )
    )
    laughs = [("mask/mine.yaml", LAUGHS), ("local/default.yaml", LAUGHS), ("top.yaml", f"{LAUGHS}mask: *i\n")]
    laughs = [each for each in laughs if each[0] in places][: count // 10]
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
OPTIONS = ["-m", "--cfg=job", "--cfg=hydra", "--cfg=all", "--help", "--version", "--info", "--info=defaults", "--resolve"]
OPTIONS += ["--package=mask", "--config-name=x", "--config-dir=.", "--config-path=x", "--hydra-help", "--", "-c", "-x", "-"]
OPTIONS += ["--shell-completion", "-sc", "query=bash", "--experimental-rerun=x", "dry_run=true", "mask=none", "plot=nope"]
OPTIONS += ["experiment=pdf", "integ=cake", "integ=sectors", "integ=median", "mask=robust", "stages=[mask]", "stages=[]"]


@st.composite
def words(draw: st.DrawFn) -> list[str]:
    """A command line: the usual one with words put in that are nearly right, and some that are not."""
    keys = sorted(key for key in _keys(defaults()) if not key.startswith(_AWAY))
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
    "frames": (60, frames),
    "masks": (13, masks),
    "poni": (13, poni),
    "yaml": (7, yaml),
    "lines": (7, lines),
}
