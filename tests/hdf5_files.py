"""HDF5 files as detectors write them, and what xrdpipe reads from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from xrdpipe.io import files

IMAGES = np.random.default_rng(0).poisson(3, (6, 20, 30)).astype(np.uint32)


Images = NDArray[Any]


def arrays(path: str | Path) -> Images:
    return np.array([files.read(each)[0] for each in files.list_frames(path).references])


def numbers(path: str | Path) -> list[int | None]:
    return [each.index for each in files.list_frames(path).references]


def eiger(folder: Path, images: Images = IMAGES, each: int = 2, **filters: Any) -> Path:
    """A master file that leads to data files of a few images each, as Dectris' detectors write them."""
    with h5py.File(folder / "scan_master.h5", "w") as master:
        data = master.create_group("entry/data")
        for at in range(0, len(images), each):
            name = f"data_{at // each + 1:06d}"
            data[name] = h5py.ExternalLink(f"scan_{name}.h5", "/entry/data/data")
            with h5py.File(folder / f"scan_{name}.h5", "w") as file:
                some = images[at : at + each]
                file.create_dataset("entry/data/data", data=some, chunks=(1, *images.shape[1:]), **filters)
        mask = np.zeros(images.shape[1:], np.uint32)
        mask[3, 4] = 1
        master["entry/instrument/detector/detectorSpecific/pixel_mask"] = mask
        master["entry/instrument/detector/count_time"] = 0.5
        master["entry/sample/temperature"] = np.arange(300.0, 300 + len(images))
    return folder / "scan_master.h5"
