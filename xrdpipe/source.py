"""Source: where frames come from, and how a file becomes an image."""

from __future__ import annotations

import io
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .frame import Frame, FrameError, Image, Reference
from .header import Header
from .provenance import content_hash
from .stage import ConfigError, Setup, Stage, choice, require

# What each transform does to an array (slow, fast), and which one undoes it: flips and the transpose undo themselves.
TRANSFORMS: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "flipud": np.flipud,
    "fliplr": np.fliplr,
    "rot90": np.rot90,
    "transpose": np.transpose,
}
_LARGEST_IMAGE = 1 << 30  # pixels: a header may lie about its size


@dataclass(frozen=True)
class Source(Stage):
    """Image files of any format that fabio reads, one frame a file.

    ``transform``: any of flipud, fliplr, rot90, transpose, in order, applied to every raw frame read, so that it fits
    the orientation of the PONI. ``gain`` (counts a photon) and ``readout_noise`` (standard deviation, counts) of the
    detector decide the variance of a raw pixel, see `noise`.
    """

    transform: list[str] = field(default_factory=list)
    gain: float = 1.0
    readout_noise: float = 0.0

    def __post_init__(self) -> None:
        require(bool(np.isfinite(self.gain)) and self.gain > 0, "gain", self.gain, "a number > 0 expected")
        good = bool(np.isfinite(self.readout_noise)) and self.readout_noise >= 0
        require(good, "readout_noise", self.readout_noise, "counts >= 0 expected")
        for name in self.transform:
            choice("transform", name, TRANSFORMS)

    supplies: ClassVar[bool] = False  # whether this source brings its own frames, and writes them into the run's folder

    def supply(self, values: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Fill in what the user left open of a configuration; a source that `supplies` makes frames in ``folder``."""
        return values

    def to_frame(self, raw: NDArray[Any]) -> NDArray[Any]:
        """Turn an array from the orientation of the file into that of the frame."""
        for name in self.transform:
            raw = TRANSFORMS[name](raw)
        return raw

    def to_raw(self, array: NDArray[Any]) -> NDArray[Any]:
        """Undo `to_frame`."""
        for name in reversed(self.transform):
            array = np.rot90(array, -1) if name == "rot90" else TRANSFORMS[name](array)
        return array

    def read(self, path: str | Path) -> Image:
        """The image of a file, float32, contiguous, in the orientation of the frames; FrameError if it has none."""
        return self._image(memory.read(Path(path))[0])

    def noise(self, counts: Image) -> Image:
        """The variance of raw counts, counts**2, float32: ``gain * max(counts, gain) + readout_noise**2``.

        counts / gain photons are Poisson distributed, and at least one is taken for granted.
        """
        variance = np.maximum(counts, np.float32(self.gain))
        if self.gain != 1:
            variance *= np.float32(self.gain)
        if self.readout_noise:
            variance += np.float32(self.readout_noise**2)
        return variance

    def prepare(self, setup: Setup) -> Callable[[Reference], Frame]:
        shape = setup.geometry.shape

        def read(reference: Reference) -> Frame:
            if reference.array is None:
                raw, digest = memory.read(reference.path)
            else:
                raw = as_image(reference.array)
                digest = content_hash(np.ascontiguousarray(raw))
            image = self._image(raw)
            if image.shape != shape:
                raise FrameError(
                    f"the frame has {image.shape[0]} x {image.shape[1]} pixels, {setup.geometry.shape_from} "
                    f"{shape[0]} x {shape[1]}"
                )
            variance = self.noise(image) if setup.variance else None
            header = Header(reference.path) if reference.array is None else {}
            return Frame(reference.name, image, reference.path.name, digest, variance, header=header)

        return read

    def _image(self, raw: NDArray[Any]) -> Image:
        return np.require(self.to_frame(raw), np.float32, ["C", "ALIGNED"])


@dataclass(frozen=True)
class Demo(Source):
    """Simulated nickel frames with their PONI and air frame, made in the run's folder; see `demo.write_demo`."""

    frames: int = 6
    seed: int = 0

    supplies: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.frames <= 501, "frames", self.frames, "1 to 501 frames expected")
        require(self.seed >= 0, "seed", self.seed, "a whole number >= 0 expected")

    def supply(self, values: dict[str, Any], folder: Path) -> dict[str, Any]:
        from .demo import write_demo

        for key in ("poni", "images"):
            if values.get(key):
                raise ConfigError(
                    f"{key}={values[key]}: the demo makes its own; leave it out, or leave out source=demo"
                )
        made = write_demo(folder / "demo", self.frames, self.seed)
        background = dict(values.get("background") or {})
        background["file"] = background.get("file") or str(made.air)
        images = [str(path) for path in made.images]
        return {**values, "poni": str(made.poni), "images": images, "background": background}


class Memory:
    """Files read before, for as long as they do not change: the jobs of a sweep read the same frames again and again.

    Holds up to ``room`` bytes; 0, as in a single run, which meets every frame once, holds nothing.
    """

    room = 0

    def __init__(self) -> None:
        self.files: OrderedDict[tuple[str, int, int], tuple[NDArray[Any], str]] = OrderedDict()

    def read(self, path: Path) -> tuple[NDArray[Any], str]:
        """As `read_file`, from memory where it can be."""
        if not self.room or not path.is_file():
            return read_file(path)
        state = path.stat()
        key = (str(path.resolve()), state.st_size, state.st_mtime_ns)
        if key not in self.files:
            self.files[key] = read_file(path)
            while sum(array.nbytes for array, _ in self.files.values()) > self.room:
                self.files.popitem(last=False)
        return self.files[key] if key in self.files else read_file(path)


memory = Memory()


def read_file(path: Path) -> tuple[NDArray[Any], str]:
    """Read an image file: the raw array (slow, fast) and the hash of the file's content.

    FrameError says why there is no image: no such file, empty, truncated, a format nobody knows, not two-dimensional.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise FrameError("no such file") from error
    except IsADirectoryError as error:
        raise FrameError("is a folder, not an image") from error
    except OSError as error:
        raise FrameError(f"cannot be read ({error.strerror})") from error
    if not content:
        raise FrameError("the file is empty")
    digest = content_hash(content)
    if content[:6] == b"\x93NUMPY":
        raw: NDArray[Any] | None = _npy(content)
    else:
        raw = _plain_tiff(content) if content[:4] in (b"II*\0", b"MM\0*") else None
    return as_image(_read_with_fabio(path) if raw is None else raw), digest


def as_image(raw: NDArray[Any]) -> NDArray[Any]:
    """Check that an array is one picture of real numbers; FrameError if not."""
    if raw.ndim != 2:
        kind = "a colour picture" if raw.ndim == 3 and raw.shape[-1] in (3, 4) else f"{raw.ndim}-dimensional"
        raise FrameError(f"not one greyscale frame but {kind}, shape {' x '.join(map(str, raw.shape))}")
    if raw.dtype.kind not in "uifb":
        raise FrameError(f"its pixels are of type {raw.dtype}, real numbers are expected")
    if raw.size == 0:
        raise FrameError("it has no pixels")
    return raw


def _npy(content: bytes) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # ValueError as a rule; MemoryError or SyntaxError where the header lies
        raise FrameError(f"not a plain .npy array ({_first_line(error)})") from error
    return array


def _plain_tiff(content: bytes) -> NDArray[Any] | None:
    # The quick way for one uncompressed page, in place: 1.5 ms for 4 Mpixels where fabio takes 12. None for others.
    import tifffile

    try:
        # Its objects refer to each other in a ring: only the closed buffer lets go of the content at once.
        with io.BytesIO(content) as buffer, tifffile.TiffFile(buffer) as tiff:
            page = tiff.pages.first
            plain = page.is_contiguous and len(tiff.pages) == 1 and len(page.shape) == 2
            shape = page.shape
            dtype = page.dtype.newbyteorder(tiff.byteorder)
            offset = page.dataoffsets[0]
            end = offset + dtype.itemsize * shape[0] * shape[1]
            if not plain:
                end = max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True)))
    except Exception:  # whatever tifffile says: fabio may know better
        return None
    if end > len(content):  # also where fabio would read it: Pillow makes zeros of what is missing
        raise FrameError(f"the file is truncated, {end - len(content)} bytes are missing")
    if not plain:
        return None
    return np.frombuffer(content, dtype, shape[0] * shape[1], offset).reshape(shape)


def _read_with_fabio(path: Path) -> NDArray[Any]:
    import fabio

    try:
        with fabio.open(str(path)) as file:
            pixels = int(np.prod([int(size) for size in file.shape]))
            if pixels > _LARGEST_IMAGE:
                raise FrameError(f"the header speaks of {pixels} pixels")
            if file.nframes > 1:
                raise FrameError(f"holds {file.nframes} frames, one a file is expected")
            data = file.data
    except FrameError:
        raise
    except Exception as error:  # fabio raises anything, from struct.error to TypeError
        raise FrameError(f"not an image that fabio can read ({_first_line(error)})") from error
    if data is None:
        raise FrameError("fabio found no image in it")
    return np.asarray(data)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def expand(images: str | Iterable[str]) -> list[Path]:
    """Paths, globs (also ``**``) and ``@list.txt`` -> image files.

    Globs are sorted naturally, lists keep their order, duplicates are dropped. ConfigError names the glob or the list
    that gives nothing. An entry that names an existing file is that file, whatever characters it has.
    """
    found: dict[str, Path] = {}
    for entry in [images] if isinstance(images, str) else images:
        for path in _expand_one(entry):
            found.setdefault(os.path.abspath(path), path)
    return list(found.values())


def expand_user(path: str) -> str:
    """Expand ``~`` and ``$VAR``, unless a file of that very name exists."""
    return path if os.path.lexists(path) else os.path.expanduser(os.path.expandvars(path))


def _expand_one(entry: str, lists: tuple[str, ...] = ()) -> Iterator[Path]:
    entry = expand_user(entry)
    if os.path.lexists(entry):
        yield Path(entry)
    elif entry.startswith("@"):
        if entry in lists:
            raise ConfigError(f"images={entry}: the list names itself")
        lines = _lines(entry[1:])
        if not lines:
            raise ConfigError(f"images={entry}: the list is empty")
        for line in lines:
            yield from _expand_one(line, (*lists, entry))
    elif any(character in entry for character in "*?["):
        from glob import iglob

        found = (match for match in iglob(entry, recursive=True) if os.path.isfile(match))
        matches = sorted(found, key=lambda match: (natural(match), match))  # f_1 and f_01 too have an order
        if not matches:
            raise ConfigError(f"images={entry}: no file matches (looked in {Path.cwd()})")
        yield from map(Path, matches)
    else:
        yield Path(entry)  # a file that does not exist fails alone, with its name


def _lines(path: str) -> list[str]:
    try:
        text = Path(expand_user(path)).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"images=@{path}: the list cannot be read ({error})") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def natural(text: str) -> list[tuple[int, int | str]]:
    """Sort key that puts ``f_2`` before ``f_10``."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", text) if part]


def references(paths: Iterable[Path], taken: Mapping[str, str] | None = None) -> list[Reference]:
    """Give every image its name: the stem, or where several share it, the shortest path that tells them apart.

    ``taken``: names given in the folder before -> the image (absolute path) that has it and keeps it. Names differ by
    more than upper and lower case, for file systems that cannot tell.
    """
    paths = list(paths)
    owners = {name.casefold(): path for name, path in (taken or {}).items()}
    known = {path: name for name, path in (taken or {}).items()}
    names: dict[Path, str] = {path: known[key] for path in paths if (key := os.path.abspath(path)) in known}
    waiting = [path for path in paths if path not in names]
    depth, longest = 0, max((2 * len(Path(os.path.abspath(path)).parts) - 3 for path in waiting), default=0)
    while waiting:
        proposals = {path: _proposal(path, depth) for path in waiting}
        wanted: dict[str, int] = {}
        for name in proposals.values():
            wanted[name.casefold()] = wanted.get(name.casefold(), 0) + 1
        for path, name in proposals.items():
            alone = wanted[name.casefold()] == 1 or depth > longest  # beyond, numbers go to who comes first
            other = Path(owners.get(path.stem.casefold(), ""))  # x.tif is told from it by its folder, not as x_tif
            if alone and name.casefold() not in owners and (depth != 1 or path.suffix != other.suffix):
                owners[name.casefold()] = os.path.abspath(path)
                names[path] = name
        waiting = [path for path in waiting if path not in names]
        depth += 1
    return [Reference(names[path], path) for path in paths]


def _proposal(path: Path, depth: int) -> str:
    # x, x_tif, a_x, a_x_tif, b_a_x, ...: more of the path with every round; numbers when the path is used up.
    absolute = Path(os.path.abspath(path))
    parts = [part for part in absolute.parts if part != absolute.anchor]
    stem, suffix = path.stem, path.suffix.lstrip(".")
    parents = parts[:-1]
    folders, with_suffix = divmod(depth, 2)
    name = "_".join([*parents[len(parents) - min(folders, len(parents)) :], stem])
    if folders > len(parents):
        name += f"_{folders - len(parents) + 1}"
    return f"{name}_{suffix}" if with_suffix and suffix else name


def shaped(reference: Reference, source: Source) -> tuple[int, int]:
    """The shape of one frame as the pipeline sees it; FrameError if it cannot be read."""
    raw = reference.array if reference.array is not None else memory.read(reference.path)[0]
    slow, fast = source.to_frame(as_image(raw)).shape
    return slow, fast
