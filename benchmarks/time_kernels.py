"""Benchmarks of single stages, prepared once, on one frame of 2048 x 2048 pixels."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from .frames import Frames, cache_folder, make

STAGES = ["source", "background", "mask", "integ", "output"]
SIZE = 2048


class Stages:
    """Every stage on its own."""

    params = (STAGES,)
    param_names = ("stage",)
    timeout = 300

    def setup_cache(self) -> Frames:
        return make(cache_folder() / f"frames-{SIZE}", 1, SIZE)

    def setup(self, frames: Frames, stage: str) -> None:
        from xrdpipe.geometry.geometry import shared_geometry
        from xrdpipe.geometry.poni import Poni
        from xrdpipe.model.reference import Reference
        from xrdpipe.stages.background import Background
        from xrdpipe.stages.integ.integ import Integ
        from xrdpipe.stages.mask import Mask
        from xrdpipe.stages.output import Output
        from xrdpipe.stages.source import Source
        from xrdpipe.stages.stage import Setup

        source = Source()
        self.folder = tempfile.TemporaryDirectory()
        setup = Setup(shared_geometry(Poni.read(str(frames.poni)), (SIZE, SIZE)), source.read, source.to_raw)
        setup = replace(setup, folder=Path(self.folder.name))
        stages = [source, Background(str(frames.background)), Mask(), Integ(), Output()]
        steps = dict(zip(STAGES, [each.prepare(setup) for each in stages], strict=True))
        self.step = steps[stage]
        self.input: Any = Reference("frame", frames.images[0])
        for name in STAGES[: STAGES.index(stage)]:
            self.input = steps[name](self.input)
        self.step(self.input)  # compiles

    def teardown(self, frames: Frames, stage: str) -> None:
        self.folder.cleanup()

    def time_stage(self, frames: Frames, stage: str) -> None:
        self.step(self.input)


class Masks:
    """The methods of the automatic mask, on the same subtracted frame."""

    params = (["median", "mean", "sigma_clip", "mad"],)
    param_names = ("auto_type",)
    timeout = 300

    def setup_cache(self) -> Frames:
        return make(cache_folder() / f"frames-{SIZE}", 1, SIZE)

    def setup(self, frames: Frames, auto_type: str) -> None:
        from xrdpipe.geometry.geometry import shared_geometry
        from xrdpipe.geometry.poni import Poni
        from xrdpipe.model.reference import Reference
        from xrdpipe.stages.background import Background
        from xrdpipe.stages.mask import Mask
        from xrdpipe.stages.source import Source
        from xrdpipe.stages.stage import Setup

        source, mask = Source(), Mask(alpha=4.5, auto_type=auto_type, lower_thresh=None)
        setup = Setup(shared_geometry(Poni.read(str(frames.poni)), (SIZE, SIZE)), source.read, source.to_raw)
        setup = replace(setup, variance=mask.needs.variance)
        frame = source.prepare(setup)(Reference("frame", frames.images[0]))
        self.input = Background(str(frames.background)).prepare(setup)(frame)
        self.step = mask.prepare(setup)
        self.step(self.input)  # compiles

    def time_mask(self, frames: Frames, auto_type: str) -> None:
        self.step(self.input)


class Preparation:
    """Work that is done once for a geometry."""

    timeout = 300

    def setup_cache(self) -> Frames:
        return make(cache_folder() / f"frames-{SIZE}", 1, SIZE)

    def time_rings(self, frames: Frames) -> None:
        from xrdpipe.geometry.geometry import Geometry
        from xrdpipe.geometry.poni import Poni

        assert len(Geometry(Poni.read(str(frames.poni)), (SIZE, SIZE)).rings.order) == SIZE**2

    def peakmem_rings(self, frames: Frames) -> None:
        self.time_rings(frames)
