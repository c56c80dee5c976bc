"""An integration to call, an image and a mask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from xrdpipe.model.frame import Frame
from xrdpipe.model.pattern import Pattern
from xrdpipe.stages.integ.integ import Integ
from xrdpipe.stages.source import Source
from xrdpipe.stages.stage import Setup

SHAPE = (120, 100)


@pytest.fixture
def integrated(setup: Setup) -> Callable[..., Pattern]:
    def run(image: NDArray[Any], mask: Any = None, variance: Any = None, **keys: Any) -> Pattern:
        frame = Frame("a", np.asarray(image, np.float32), mask=mask, variance=variance)
        pattern = Integ(**{"npt": 60} | keys).prepare(setup)(frame).pattern
        assert pattern is not None
        return pattern

    return run


@pytest.fixture
def image(frames: list[Path]) -> NDArray[np.float32]:
    return Source().read(frames[0])


@pytest.fixture
def mask() -> NDArray[np.uint8]:
    mask = (np.random.default_rng(2).random(SHAPE) < 0.2).astype(np.uint8)
    mask[:5] = mask[:, -7:] = 3  # anything but 0 is masked
    return mask
