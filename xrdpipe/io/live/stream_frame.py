"""Frames of a stream as HDF5 files: the bytes are written as they came, compressed, and read as any file.

A frame that cannot be taken has a file too, which says why, so that each run over the files tells of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..hdf5_layout import REFUSED
from ..writing import write_whole
from .stream_message import Array


def write_frame(path: Path, image: Array, mask: Array | None, about: Mapping[str, float | str]) -> None:
    """Write a frame atomically.

    Parameters
    ----------
    path
        File; ``/entry/data/data`` is the image.
    image
        Image as it was sent.
    mask
        The detector's mask, ``/entry/instrument/detector/pixel_mask``, or None.
    about
        Values that belong to the frame, written as ``/entry/<name>``.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    import h5py

    def write(part: Any) -> None:
        with h5py.File(part, "w") as file:
            for name, value in about.items():
                file[f"entry/{name}"] = value
            _put(file, "entry/data/data", image)
            if mask is not None:
                _put(file, "entry/instrument/detector/pixel_mask", mask)

    write_whole(path, write)


def write_refused(path: Path, reason: str) -> None:
    """Write a file in place of a frame that was sent but cannot be taken; reading it is a FrameError with the reason.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    import h5py

    def write(part: Any) -> None:
        with h5py.File(part, "w") as file:
            file.attrs[REFUSED] = reason

    write_whole(path, write)


def _put(file: Any, name: str, array: Array) -> None:
    import hdf5plugin

    filters = {"": {}, "bslz4": hdf5plugin.Bitshuffle(cname="lz4"), "lz4": hdf5plugin.LZ4()}[array.algorithm]
    dataset = file.create_dataset(name, array.shape, array.dtype, chunks=array.shape, **filters)
    dataset.id.write_direct_chunk((0, 0), array.data)
