"""Source: reads frames from files."""

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
from ..model.frame import Frame, Info
from ..model.identity import content_hash
from ..model.reference import Reference, display_path
from ..numerics.expression import Expression
from .arrivals import Arrivals
from .stage import Setup, Stage


@dataclass(frozen=True)
class Source(Stage):
    """Read frames from files of any format that fabio reads, and from HDF5; a file may hold many frames.

    Attributes
    ----------
    transform
        Any of flipud, fliplr, rot90 and transpose. They turn each raw frame, in this order, into the orientation of the
        PONI.
    columns
        Keys of the frame's header whose values become columns of the record.
    average, sum
        Number of consecutive frames that are merged into their mean or their sum; their errors count as independent.
    where
        Condition on values of the header, see `Expression`; other frames are left out.
    group
        Expression of values of the header; frames that have the same are merged into their mean.
    gain
        Counts that one photon makes, see `noise`.
    readout_noise
        Standard deviation of a pixel without light, counts, see `noise`.
    supplies
        True if the source makes its own frames and writes them into the folder of the run.
    """

    transform: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    average: int | None = None
    sum: int | None = None
    where: str | None = None
    group: str | None = None
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
        if self.where is not None:
            is_condition = Expression("where", self.where).is_condition
            require(is_condition, "where", self.where, "a condition expected, such as temperature > 300")
        if self.group is not None:
            Expression("group", self.group)
            require(self.average is None and self.sum is None, "group", self.group, "without average and sum")

    supplies: ClassVar[bool] = False

    def supply(self, values: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Make the frames of a source that `supplies`, and return the configuration with their paths.

        Parameters
        ----------
        values
            The configuration of the run, as plain Python.
        folder
            Folder of the run.
        """
        return values

    def check_combination(self, *, queued: bool = False, arrays: bool = False, sweep: bool = False) -> None:
        """Raise ConfigError if the source cannot be combined with other parts of the run.

        Parameters
        ----------
        queued
            The engine queues all frames at the start, so it takes none that arrive later.
        arrays
            The run also has arrays in memory.
        sweep
            The run is a job of a sweep.
        """

    def watch(
        self,
        values: Mapping[str, Any],
        excluded: Path | None,
        notify: Callable[[str], None],
        stop_requested: Callable[[], bool],
    ) -> tuple[Arrivals | None, dict[str, Any]]:
        """Start to watch for frames that arrive while the run goes on.

        Parameters
        ----------
        values
            The configuration of the run, as plain Python.
        excluded
            Folder whose files are no frames: that of the results.
        notify
            Shows a message to the user.
        stop_requested
            Returns True once the user stops the run.

        Returns
        -------
        Arrivals or None
            The frames that arrive; None if all frames are there when the run starts.
        dict
            The configuration of an ordinary run over the same frames, with the same results.
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
        """Read the only image of a file.

        Parameters
        ----------
        path
            The file; for one frame of a stack, with its index.

        Returns
        -------
        ndarray
            Raw counts, float32, contiguous, (slow, fast), in the orientation of the frames.

        Raises
        ------
        FrameError
            The file holds no frame or several.
        """
        references = files.list_frames(path).references
        if len(references) != 1:
            example = references[0].location if references else path
            raise FrameError(f"holds {len(references)} frames; say which, as in {example}")
        return self._image(memory.read(references[0])[0])

    def images(self, path: str | Path) -> Iterator[Image]:
        """Yield all images of a file, each as `read` returns it."""
        for reference in files.list_frames(path).references:
            yield self._image(memory.read(reference)[0])

    @property
    def merges(self) -> bool:
        """True if several frames may become one."""
        return (self.average or self.sum or 1) > 1 or self.group is not None

    def merged(self, references: Sequence[Reference]) -> list[Reference]:
        """Group the frames that ``average`` or ``sum`` merge.

        Frames of different stacks are not merged. The last group of a stack may be smaller.

        Parameters
        ----------
        references
            Frames as they are in the files.

        Returns
        -------
        list of Reference
            Frames as they are processed; a group has the name of its first frame.
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
        """Return the values of ``columns`` in a header, by key; None for a key that it lacks."""
        columns: dict[str, Any] = {}
        for name in self.columns:
            try:
                columns[name] = header[name]
            except KeyError:
                columns[name] = None
        return columns

    def noise(self, counts: Image) -> Image:
        """Return the variance of raw counts, ``gain * max(counts, gain) + readout_noise**2``, counts**2, float32.

        The number of photons, counts / gain, has a Poisson distribution and is taken as at least 1.
        """
        variance = np.maximum(counts, np.float32(self.gain))
        if self.gain != 1:
            variance *= np.float32(self.gain)
        if self.readout_noise:
            variance += np.float32(self.readout_noise**2)
        return variance

    def prepare(self, setup: Setup) -> Callable[[Reference], Frame]:
        """Return the function that reads a frame, or the frames that are merged into one."""

        def read(reference: Reference) -> Frame:
            return self._merge(reference, setup) if reference.parts else self._read(reference, setup)

        return read

    def _read(self, reference: Reference, setup: Setup) -> Frame:
        """Read one frame of a file, or take the array of the reference."""
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
        if reference.dataset and (file_mask := hdf5.pixel_mask(reference.path, raw.shape)) is not None:
            bad = file_mask != 0 if bad is None else bad | (file_mask != 0)
        bad = None if bad is None else self.to_frame(bad)
        info = Info(f"{reference.path.name}{reference.tail}", digest, bad=bad)
        return Frame(reference.name, image, variance, header=header(reference), info=info)

    def _merge(self, reference: Reference, setup: Setup) -> Frame:
        """Read the frames of a group and return their sum or mean, with its variance."""
        count, shape = len(reference.parts), setup.geometry.shape
        divisor = count if self.average or self.group else 1
        image, noise, digests = np.zeros(shape), np.zeros(shape), []  # in float64 the sum of many counts is exact
        bad: NDArray[np.bool_] | None = None
        for part in reference.parts:
            try:
                frame = self._read(part, setup)
            except FrameError as error:
                raise FrameError(f"{part.location}: {error}") from error
            image += frame.image
            if frame.info.bad is not None:
                bad = frame.info.bad if bad is None else bad | frame.info.bad
            digests.append(frame.info.digest)
            if frame.variance is not None:
                noise += frame.variance
        image /= divisor
        noise /= divisor**2  # the errors of the frames are independent
        file, digest = display_path(reference, folders=False), content_hash("".join(digests).encode())
        return Frame(
            reference.name,
            image.astype(np.float32),
            noise.astype(np.float32) if setup.variance else None,
            header=header(reference),
            info=Info(file, digest, exposures=count // divisor, bad=bad),
        )

    def _image(self, raw: NDArray[Any]) -> Image:
        return np.require(self.to_frame(raw), np.float32, ["C", "ALIGNED"])


def sentinel_pixels(raw: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return the pixels of a raw array that hold no count.

    Photon counters mark such pixels with negative values; in unsigned types with the largest one, at which integrating
    detectors are saturated. In float32 the largest value is a number like any other, so the raw array is needed.

    Parameters
    ----------
    raw
        Array as it is in the file, (slow, fast).

    Returns
    -------
    ndarray or None
        True for pixels without count, (slow, fast); None if there are none.
    """
    if raw.dtype.kind not in "iu":
        return None
    if raw.dtype.kind == "i":
        return raw < 0 if raw.size and raw.min() < 0 else None  # most frames have none: one pass, no array
    largest = (1 << 8 * raw.itemsize) - 1
    return raw == largest if raw.size and raw.max() == largest else None


def frame_shape(reference: Reference, source: Source) -> tuple[int, int]:
    """Return the shape (slow, fast) of a frame in the orientation of the PONI.

    Raises
    ------
    FrameError
        The frame cannot be read.
    """
    raw = reference.array if reference.array is not None else memory.read((reference.parts or (reference,))[0])[0]
    slow, fast = source.to_frame(as_image(raw)).shape
    return slow, fast


def check_arrivals(source: Source, idle: float | None, frames: int | None, reasons: tuple[str, str]) -> None:
    """Raise ConfigError where keys of a source do not fit frames that arrive during the run.

    Parameters
    ----------
    source
        The source.
    idle, frames
        Its seconds without a frame, and number of frames, that end a run.
    reasons
        Why it does not merge frames, and why it does not select them.
    """
    require(idle is None or idle > 0, "idle", idle, "seconds > 0 expected, or null")
    require(frames is None or frames >= 1, "frames", frames, "a number of frames >= 1, or null")
    for keys, possible, reason in (
        (("average", "sum"), (None, 1), reasons[0]),
        (("where", "group"), (None,), reasons[1]),
    ):
        for key in keys:
            value = getattr(source, key)
            require(value in possible, key, value, reason)
