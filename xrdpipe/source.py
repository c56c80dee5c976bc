"""Source: where frames come from, and how a file becomes an image."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from . import files, hdf5
from .files import as_image
from .frame import Frame, FrameError, Image, Reference
from .header import header
from .provenance import content_hash
from .stage import ConfigError, Setup, Stage, choice, require

# What each transform does to an array (slow, fast), and which one undoes it: flips and the transpose undo themselves.
TRANSFORMS: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "flipud": np.flipud,
    "fliplr": np.fliplr,
    "rot90": np.rot90,
    "transpose": np.transpose,
}


@dataclass(frozen=True)
class Source(Stage):
    """Frames from files of any format that fabio reads and from HDF5, one or many a file.

    ``transform``: any of flipud, fliplr, rot90, transpose, in order, applied to every raw frame read, so that it fits
    the orientation of the PONI. ``columns``: keys of the frame's header whose values become columns of the record.
    ``average`` or ``sum``: so many frames in a row are one, their errors independent of each other. ``gain`` (counts a
    photon) and ``readout_noise`` (standard deviation, counts) of the detector decide the variance of a raw pixel, see
    `noise`.
    """

    transform: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    average: int | None = None
    sum: int | None = None
    gain: float = 1.0
    readout_noise: float = 0.0

    def __post_init__(self) -> None:
        require(bool(np.isfinite(self.gain)) and self.gain > 0, "gain", self.gain, "a number > 0 expected")
        good = bool(np.isfinite(self.readout_noise)) and self.readout_noise >= 0
        require(good, "readout_noise", self.readout_noise, "counts >= 0 expected")
        for name in self.transform:
            choice("transform", name, TRANSFORMS)
        for name in self.columns:
            require(bool(name.strip()), "columns", self.columns, "keys of the frame's header expected")
            require(self.columns.count(name) == 1, "columns", self.columns, f"{name} stands there twice")
        for key in ("average", "sum"):
            number = getattr(self, key)
            require(number is None or number >= 1, key, number, "a number of frames >= 1 expected, or null")
        require(self.average is None or self.sum is None, "sum", self.sum, f"together with average={self.average}")

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
        """The image of a file, float32, contiguous, in the orientation of the frames; FrameError if it has none, or
        several and none is named."""
        found = files.look(path).references
        if len(found) != 1:
            raise FrameError(f"holds {len(found)} frames; say which, as in {found[0].location if found else path}")
        return self._image(memory.read(found[0])[0])

    def images(self, path: str | Path) -> Iterator[Image]:
        """All images of a file, one after another, each as `read` gives it."""
        for reference in files.look(path).references:
            yield self._image(memory.read(reference)[0])

    def merged(self, references: Sequence[Reference]) -> list[Reference]:
        """The frames as they are processed: with ``average`` or ``sum``, so many in a row are one, named as the first.

        Frames of different stacks are not merged; what is left at the end of one is a smaller group.
        """
        size = self.average or self.sum or 1
        if size == 1:
            return list(references)
        groups: list[Reference] = []
        for _, row in groupby(
            references, lambda each: (each.array is None, each.index is not None and each.path, each.dataset)
        ):
            frames = tuple(row)
            for start in range(0, len(frames), size):
                groups.append(replace(frames[start], parts=frames[start : start + size]))
        return groups

    def values(self, header: Mapping[str, Any]) -> dict[str, Any]:
        """What ``columns`` names of a frame's header; None where it has no such key."""
        found: dict[str, Any] = {}
        for name in self.columns:
            try:
                found[name] = header[name]
            except KeyError:
                found[name] = None
        return found

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
                raw, digest = memory.read(reference)
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
            bad = sentinels(raw)
            if reference.dataset and (known := hdf5.pixel_mask(reference.path, raw.shape)) is not None:
                bad = known != 0 if bad is None else bad | (known != 0)
            bad = None if bad is None else self.to_frame(bad)
            file = f"{reference.path.name}{reference.tail}"
            return Frame(reference.name, image, file, digest, variance, bad, header=header(reference))

        def merge(reference: Reference) -> Frame:
            if not reference.parts:
                return read(reference)
            count = len(reference.parts)
            divisor = count if self.average else 1
            image, noise, digests = np.zeros(shape), np.zeros(shape), []  # float64: the sum of many counts is exact
            bad: NDArray[np.bool_] | None = None
            for part in reference.parts:
                try:
                    frame = read(part)
                except FrameError as error:
                    raise FrameError(f"{part.location}: {error}") from error
                image += frame.image
                if frame.bad is not None:
                    bad = frame.bad if bad is None else bad | frame.bad
                digests.append(frame.digest)
                if frame.variance is not None:
                    noise += frame.variance
            image /= divisor
            noise /= divisor**2  # errors of independent frames, times 1 / divisor
            return replace(
                frame,
                name=reference.name,
                file=given(reference, folders=False),
                image=image.astype(np.float32),
                variance=noise.astype(np.float32) if setup.variance else None,
                digest=content_hash("".join(digests).encode()),
                header=header(reference),
                exposures=count // divisor,
                bad=bad,
            )

        return merge

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
        self.lock = threading.Lock()  # of what is held, not of the reading

    def read(self, reference: Reference) -> tuple[NDArray[Any], str]:
        """As `files.read`, from memory where it can be."""
        if not self.room or not os.path.isfile(reference.path):
            return files.read(reference)
        key = (f"{reference.path.resolve()}{reference.tail}", *files.changed(reference))
        with self.lock:
            found = self.files.get(key)
        if found is None:
            found = files.read(reference)
            with self.lock:
                self.files[key] = found
                while sum(array.nbytes for array, _ in self.files.values()) > self.room:
                    self.files.popitem(last=False)
        return found


memory = Memory()


def sentinels(raw: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Where a raw array (slow, fast) says that a pixel holds no count; None where it says so of none.

    Photon counters write negative values, and in unsigned types the largest one, which is also where an integrating
    detector is saturated. As float32 the latter is a number like others, so the raw array is what has to be asked.
    """
    if raw.dtype.kind not in "iu":
        return None
    bad: NDArray[np.bool_] = raw < 0 if raw.dtype.kind == "i" else raw == np.iinfo(raw.dtype).max
    return bad if bad.any() else None


def references(paths: Iterable[str | Path], taken: Mapping[str, str] | None = None) -> list[Reference]:
    """The frames of files, each with its name; see `named`."""
    return named([each for path in paths for each in files.look(path).references], taken)


def named(frames: Sequence[Reference], taken: Mapping[str, str] | None = None) -> list[Reference]:
    """Give every frame its name: the file's stem, or where several share it, the shortest path that tells them apart;
    and in a stack the frame's number in it, from 0, with four digits or more.

    ``taken``: names given in the folder before -> the frame (absolute path and tail) that has it and keeps it. Names
    differ by more than upper and lower case, for file systems that cannot tell.
    """
    owners = {name.casefold(): where for name, where in (taken or {}).items()}
    known = {where: name for name, where in (taken or {}).items()}
    places = [absolute(frame) for frame in frames]
    names = {place: known[place] for place in places if place in known}
    stacks: dict[tuple[Path, str], dict[str, Reference]] = {}  # the frames of a stack are named alike
    for place, frame in zip(places, frames, strict=True):
        if place not in names:
            stacks.setdefault((frame.path, frame.dataset), {})[place] = frame
    depth, longest = 0, max((2 * len(Path(os.path.abspath(path)).parts) - 3 for path, _ in stacks), default=0)
    while stacks:
        proposals = {key: _proposals(stack, depth) for key, stack in stacks.items()}
        wanted: dict[str, int] = {}
        for proposal in proposals.values():
            for name in proposal.values():
                wanted[name.casefold()] = wanted.get(name.casefold(), 0) + 1
        for (path, dataset), proposal in proposals.items():
            folded = {name.casefold() for name in proposal.values()}
            alone = depth > longest or all(wanted[name] == 1 for name in folded)  # beyond, who comes first has it
            other = Path(owners.get(path.stem.casefold(), ""))  # x.tif is told from it by its folder, not as x_tif
            if alone and folded.isdisjoint(owners) and (depth != 1 or path.suffix != other.suffix):
                names |= proposal
                owners |= {name.casefold(): place for place, name in proposal.items()}
                del stacks[path, dataset]
        depth += 1
    return [replace(frame, name=names[place]) for place, frame in zip(places, frames, strict=True)]


def absolute(frame: Reference) -> str:
    """Where a frame is, wherever one stands: absolute path and tail."""
    return f"{os.path.abspath(frame.path)}{frame.tail}"


def given(frame: Reference, folders: bool = True) -> str:
    """A frame as it was given, or where frames are merged, the first and the last of them."""
    parts = frame.parts or (frame,)
    first, last = (f"{part.path if folders else part.path.name}{part.tail}" for part in (parts[0], parts[-1]))
    return first if first == last else f"{first} ... {last if parts[0].index is None else parts[-1].tail[2:]}"


def _proposals(stack: Mapping[str, Reference], depth: int) -> dict[str, str]:
    frame = next(iter(stack.values()))
    name = _proposal(frame.path, depth)
    if depth and frame.dataset:  # two datasets of one file
        inside = [part for part in frame.dataset.replace("*", "").split("/") if part]
        name = "_".join([name, *inside[-depth:]])
    return {place: name if each.index is None else f"{name}_{each.index:04d}" for place, each in stack.items()}


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
    raw = reference.array if reference.array is not None else memory.read((reference.parts or (reference,))[0])[0]
    slow, fast = source.to_frame(as_image(raw)).shape
    return slow, fast
