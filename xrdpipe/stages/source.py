"""Source: where frames come from, and how a file becomes an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..geometry.orientation import TRANSFORMS
from ..io import files, hdf5
from ..io.header import header
from ..io.image_file import as_image
from ..io.memory import memory
from ..model.arrays import Image
from ..model.errors import FrameError, choice, require
from ..model.frame import Frame
from ..model.identity import content_hash
from ..model.reference import Reference, display_path
from .arrivals import Arrivals
from .stage import Setup, Stage


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

    def check_combination(self, *, queued: bool = False, arrays: bool = False, sweep: bool = False) -> None:
        """Raise ConfigError for what the source cannot be combined with.

        Parameters
        ----------
        queued
            The engine puts frames into a queue, so it takes none that arrive later.
        arrays
            The run also has arrays in memory.
        sweep
            The run is a job of a sweep.
        """

    def watch(
        self, values: Mapping[str, Any], apart: Path | None, say: Callable[[str], None], stopped: Callable[[], bool]
    ) -> tuple[Arrivals | None, dict[str, Any]]:
        """Begin to look for frames that arrive while the run goes on.

        Parameters
        ----------
        values
            The configuration of the run, as plain Python.
        apart
            A folder in which no frame is looked for: that of the results.
        say
            Tells the user something.
        stopped
            Whether the user wants no more frames.

        Returns
        -------
        Arrivals or None
            What finds the frames; None where all frames are there when the run begins.
        dict
            The configuration of an ordinary run over the same frames, which gives the same results.
        """
        return None, dict(values)

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
        found = files.list_frames(path).references
        if len(found) != 1:
            raise FrameError(f"holds {len(found)} frames; say which, as in {found[0].location if found else path}")
        return self._image(memory.read(found[0])[0])

    def images(self, path: str | Path) -> Iterator[Image]:
        """All images of a file, one after another, each as `read` gives it."""
        for reference in files.list_frames(path).references:
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
        def read(reference: Reference) -> Frame:
            return self._merge(reference, setup) if reference.parts else self._read(reference, setup)

        return read

    def _read(self, reference: Reference, setup: Setup) -> Frame:
        """Read one frame of a file, or take the array that was handed over."""
        if reference.array is None:
            raw, digest = memory.read(reference)
        else:
            raw = as_image(reference.array)
            digest = content_hash(np.ascontiguousarray(raw))
        image, shape = self._image(raw), setup.geometry.shape
        if image.shape != shape:
            raise FrameError(
                f"the frame has {image.shape[0]} x {image.shape[1]} pixels, {setup.geometry.shape_from} "
                f"{shape[0]} x {shape[1]}"
            )
        variance = self.noise(image) if setup.variance else None
        bad = sentinel_pixels(raw)
        if reference.dataset and (known := hdf5.pixel_mask(reference.path, raw.shape)) is not None:
            bad = known != 0 if bad is None else bad | (known != 0)
        bad = None if bad is None else self.to_frame(bad)
        file = f"{reference.path.name}{reference.tail}"
        return Frame(reference.name, image, file, digest, variance, bad, header=header(reference))

    def _merge(self, reference: Reference, setup: Setup) -> Frame:
        """Read the frames that are merged in one: their sum or average, with the variance of that."""
        count, shape = len(reference.parts), setup.geometry.shape
        divisor = count if self.average else 1
        image, noise, digests = np.zeros(shape), np.zeros(shape), []  # float64: the sum of many counts is exact
        bad: NDArray[np.bool_] | None = None
        for part in reference.parts:
            try:
                frame = self._read(part, setup)
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
            file=display_path(reference, folders=False),
            image=image.astype(np.float32),
            variance=noise.astype(np.float32) if setup.variance else None,
            digest=content_hash("".join(digests).encode()),
            header=header(reference),
            exposures=count // divisor,
            bad=bad,
        )

    def _image(self, raw: NDArray[Any]) -> Image:
        return np.require(self.to_frame(raw), np.float32, ["C", "ALIGNED"])


def sentinel_pixels(raw: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Where a raw array (slow, fast) says that a pixel holds no count; None where it says so of none.

    Photon counters write negative values, and in unsigned types the largest one, which is also where an integrating
    detector is saturated. As float32 the latter is a number like others, so the raw array is what has to be asked.
    """
    if raw.dtype.kind not in "iu":
        return None
    bad: NDArray[np.bool_] = raw < 0 if raw.dtype.kind == "i" else raw == np.iinfo(raw.dtype).max
    return bad if bad.any() else None


def frame_shape(reference: Reference, source: Source) -> tuple[int, int]:
    """The shape of one frame as the pipeline sees it; FrameError if it cannot be read."""
    raw = reference.array if reference.array is not None else memory.read((reference.parts or (reference,))[0])[0]
    slow, fast = source.to_frame(as_image(raw)).shape
    return slow, fast
