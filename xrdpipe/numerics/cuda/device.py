"""The GPU as the stages see it: arrays that all frames share, and the frame that each thread has in hand."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from ...model.arrays import Image, read_only
from ...model.errors import ConfigError
from ...model.frame import Frame
from ..integration import transpose
from . import kernels
from .limits import ring_limits

MOST_BLOCKS = 1 if kernels.SIMULATED else 1024  # of a kernel over pixels
STATISTICS = 4  # columns of `kernels.ring_statistics`


@lru_cache(maxsize=1)
def require_gpu() -> None:
    """Raise ConfigError unless a kernel runs: numba-cuda is installed and there is a GPU, or numba simulates one."""
    if kernels.SIMULATED:
        return
    if find_spec("numba_cuda") is None:
        raise ConfigError("parallel=cuda: numba-cuda is not installed; pip install 'xrdpipe[cuda]'")
    try:
        nothing = cuda.to_device(np.zeros(1, np.float32))
        kernels.subtract[1, 1](nothing, nothing, nothing, 0.0, False, False)
        cuda.synchronize()
    except Exception as error:  # of numba, of the driver's interface, or of a library that cannot be loaded
        reason = " ".join(str(error).split()).rstrip(" .:") or type(error).__name__
        raise ConfigError(f"parallel=cuda: no CUDA GPU can be used ({reason}); leave out parallel=cuda") from error


class Device:
    """Background, mask and integration of frames of one size on the GPU.

    Every thread has a stream and arrays of its own on the GPU, so that several frames are under way at once. What a
    step leaves there serves the next step, unless a stage in between has made another image or mask.

    Parameters
    ----------
    shape
        Shape of the frames, (slow, fast).

    Raises
    ------
    ConfigError
        There is no GPU, or numba-cuda is not installed.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        require_gpu()
        self.shape, self._thread = shape, threading.local()

    def share(self, array: NDArray[Any] | None) -> Any:
        """Copy an array that all frames use to the GPU; ConfigError if it has no room. None stays None."""
        if array is None:
            return None
        try:
            with _memory_errors():
                return cuda.to_device(np.ascontiguousarray(array if array.size else np.zeros(1, array.dtype)))
        except MemoryError as error:
            shape = f"{self.shape[0]} x {self.shape[1]}"
            raise ConfigError(f"parallel=cuda: {error}; frames of {shape} pixels need more") from error

    def subtraction(self, dark: Image | None, net: Image | None) -> Callable[[Image, float], Image]:
        """Return a function from an image and a factor to ``image - dark - factor * net``, to the bit of numpy's.

        Parameters
        ----------
        dark, net
            Dark frame, and background without dark; float32, (slow, fast), or None.
        """
        on_gpu = [self.share(None if array is None else array.ravel()) for array in (dark, net)]

        def subtract(image: Image, factor: float) -> Image:
            here = self._here()
            here.take(image)
            here.kept_image = _nothing
            arrays = (here.image if array is None else array for array in on_gpu)
            given = (array is not None for array in on_gpu)
            here.over_pixels(kernels.subtract, here.image, *arrays, float(np.float32(factor)), *given)
            difference = here.fetch(here.image, np.empty(image.shape, np.float32))
            difference.flags.writeable = False  # the copy on the GPU would not follow a change
            here.kept_image = weakref.ref(difference)
            return difference

        return subtract

    def outliers(
        self, order: NDArray[np.uint32], starts: NDArray[np.int64], limits: tuple[float, float], alpha: float
    ) -> Callable[[Image, Image, NDArray[np.uint8]], None]:
        """Return a function that masks by thresholds and median: flat image, variance, and mask, changed in place.

        Parameters
        ----------
        order, starts
            The rings, see `numerics.kernels`.
        limits
            Counts below and above which a pixel is masked; -inf and inf for none.
        alpha
            Standard deviations from the median of the ring.
        """
        order_on_gpu, starts_on_gpu, rings = self.share(order), self.share(starts), starts.size - 1
        low, high = np.float32(limits[0]), np.float32(limits[1])

        def find(image: Image, variance: Image, flat: NDArray[np.uint8]) -> None:
            here = self._here()
            here.take(image)
            here.send(here.mask, flat)
            here.over_pixels(kernels.scatter_to_rings, here.image, here.mask, low, high, order_on_gpu, here.values)
            statistics = here.room("statistics", (rings, STATISTICS), np.float64)
            bits = here.values.view(np.int32)
            here.by_block(kernels.ring_statistics, rings, here.values, bits, starts_on_gpu, statistics)
            found = read_only(here.fetch(statistics, np.empty((rings, STATISTICS))))
            good = np.empty((rings, 2), np.float32)
            ring_limits(found, image, read_only(flat), *limits, order, starts, alpha, good)
            good_on_gpu = here.room("limits", (rings, 2), np.float32)
            here.send(good_on_gpu, good)
            arrays = here.values, order_on_gpu, starts_on_gpu, good_on_gpu
            here.by_block(kernels.mask_outliers, rings, *arrays, here.mask)
            here.fetch(here.mask, flat)

        return find

    def keep(self, frame: Frame, mask: NDArray[np.uint8]) -> Frame:
        """Return the frame with the mask, both of which this thread has on the GPU; image and mask become read-only."""
        here = self._here()
        image, mask = read_only(frame.image), read_only(mask)
        here.kept_image, here.kept_mask = weakref.ref(image), weakref.ref(mask)
        return replace(frame, image=image, mask=mask)

    def summation(
        self, cached: Mapping[str, NDArray[Any]], bins: int, errors: bool
    ) -> Callable[[Frame], tuple[Image, NDArray[np.uint8], NDArray[np.float64]]]:
        """Return a function from a frame to its flat image, flat mask and sums of `integration.integrate`, (5, bins).

        Parameters
        ----------
        cached
            Matrix (``starts``, ``bins``, ``coefs``) and ``norm`` of the integration.
        bins
            Number of bins.
        errors
            Sum the variance of the frame.
        """
        starts, pixels = np.empty(bins + 1, np.uint32), np.empty(cached["bins"].size, np.uint32)
        coefs, norm = np.empty(cached["coefs"].size, np.float32), cached["norm"]
        transpose(cached["starts"], cached["bins"], cached["coefs"], starts, pixels, coefs)
        matrix, norm_on_gpu = (self.share(starts), self.share(pixels), self.share(coefs)), self.share(norm)
        no_mask = read_only(np.zeros(self.shape, np.uint8))

        def sum_bins(frame: Frame) -> tuple[Image, NDArray[np.uint8], NDArray[np.float64]]:
            here = self._here()
            mask = no_mask if frame.mask is None else frame.mask
            here.take(frame.image, mask)
            variance, with_errors = here.image, errors and frame.variance is not None
            if with_errors and frame.variance is not None:
                variance = here.room("variance", here.image.shape, np.float32)
                here.send(variance, frame.variance)
            sums = here.room(f"sums of {bins}", (kernels.SUMS, bins), np.float64)
            arrays = here.image, here.mask, norm_on_gpu, variance
            here.by_block(kernels.integrate, bins, *arrays, norm.size > 0, with_errors, *matrix, sums)
            found = here.fetch(sums, np.empty((kernels.SUMS, bins)))
            return read_only(frame.image.ravel()), read_only(mask.ravel()), found

        return sum_bins

    def _here(self) -> _Frame:
        """Return what this thread has on the GPU."""
        if not hasattr(self._thread, "frame"):
            self._thread.frame = _Frame(self.shape[0] * self.shape[1])
        found: _Frame = self._thread.frame
        return found


class _Frame:
    """Arrays on the GPU and stream of one thread.

    Attributes
    ----------
    image, mask, values
        Counts, mask, and counts in ring order, of the frame that the thread has in hand.
    kept_image, kept_mask
        References to the arrays of the processor that ``image`` and ``mask`` are copies of.
    """

    def __init__(self, pixels: int) -> None:
        with _memory_errors():
            self._stream = cuda.stream()
            self._rooms: dict[str, Any] = {}
            self.image = self.room("image", (pixels,), np.float32)
            self.mask = self.room("mask", (pixels,), np.uint8)
            self.values = self.room("values", (pixels,), np.float32)
        self.kept_image: Callable[[], Any] = _nothing
        self.kept_mask: Callable[[], Any] = _nothing

    def room(self, name: str, shape: tuple[int, ...], kind: Any) -> Any:
        """Return an array on the GPU, which is the same for the next frame."""
        if name not in self._rooms:
            with _memory_errors():
                self._rooms[name] = cuda.device_array(shape, kind, stream=self._stream)
        return self._rooms[name]

    def take(self, image: Image, mask: NDArray[np.uint8] | None = None) -> None:
        """Copy an image, and a mask, to the GPU, unless the copies of them are there."""
        if not _is_copied(image, self.kept_image):
            self.send(self.image, image)
        if mask is not None and not _is_copied(mask, self.kept_mask):
            self.send(self.mask, mask)

    def send(self, to: Any, array: NDArray[Any]) -> None:
        """Copy an array of the processor to the GPU."""
        if to is self.image:
            self.kept_image = _nothing
        if to is self.mask:
            self.kept_mask = _nothing
        to.copy_to_device(np.ascontiguousarray(array).reshape(to.shape), stream=self._stream)

    def fetch(self, source: Any, to: NDArray[Any]) -> NDArray[Any]:
        """Copy an array of the GPU into one of the processor, once all kernels before are done, and return it."""
        source.copy_to_host(to.reshape(source.shape), stream=self._stream)
        self._stream.synchronize()
        return to

    def over_pixels(self, kernel: Any, *arguments: Any) -> None:
        """Launch a kernel over the pixels of the frame."""
        blocks = min(MOST_BLOCKS, -(-self.image.size // kernels.BLOCK))
        kernel[blocks, kernels.BLOCK, self._stream](*arguments)

    def by_block(self, kernel: Any, blocks: int, *arguments: Any) -> None:
        """Launch a kernel that takes a block for each ring or bin."""
        kernel[blocks, kernels.BLOCK, self._stream](*arguments)


def _nothing() -> None:
    return None


def _is_copied(array: NDArray[Any], kept: Callable[[], Any]) -> bool:
    """Return whether an array has the memory of the one that was kept, which is contiguous and still exists."""
    before = kept()
    if before is None or before.nbytes != array.nbytes or not array.flags.c_contiguous:
        return False
    return bool(before.ctypes.data == array.ctypes.data)


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Raise MemoryError, with what is free, if the GPU has no room."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # numba and numba-cuda have several classes for it
        if "out_of_memory" not in str(error).lower().replace(" ", "_"):
            raise
        room = ""
        with suppress(Exception):
            free, total = (size / 1e6 for size in cuda.current_context().get_memory_info())
            room = f", {free:.0f} of {total:.0f} MB are free"
        raise MemoryError(f"the GPU has no room{room}") from error
