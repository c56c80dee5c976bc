"""A source for xrdpipe: the frames of a .npz file, which xrdpipe does not read itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xrdpipe import ConfigError
from xrdpipe.stages.source import Source


@dataclass(frozen=True)
class Archive(Source):
    """Every array in the .npz ``file`` is a frame of its name."""

    file: str = ""
    supplies: ClassVar[bool] = True

    def supply(self, values, folder):
        try:
            with np.load(self.file, allow_pickle=False) as archive:
                frames = {name: archive[name] for name in archive}
        except (OSError, ValueError) as error:
            raise ConfigError(f"source.file={self.file}: no .npz file can be read there ({error})") from error
        place = folder / "frames"
        place.mkdir(parents=True, exist_ok=True)
        for name, frame in frames.items():
            np.save(place / f"{name}.npy", frame)
        return {**values, "images": [str(place / f"{name}.npy") for name in frames]}
