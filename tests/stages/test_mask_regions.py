"""The mask of regions as a stage: which image it looks at, and how it works with the other steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from xrdpipe.geometry.geometry import Geometry
from xrdpipe.geometry.poni import Poni
from xrdpipe.model.frame import Frame, Info
from xrdpipe.numerics.constants import OUTLIER
from xrdpipe.numerics.outliers import GROWN
from xrdpipe.stages.mask import Mask
from xrdpipe.stages.simulation import Simulation
from xrdpipe.stages.source import Source
from xrdpipe.stages.stage import Setup

SHAPE = (240, 240)
SHADOW = np.s_[150:190, 30:80]
OFF: dict[str, Any] = {"edge": 0, "lower_thresh": None, "alpha": None, "detector": False}


@pytest.fixture(scope="module")
def setup() -> Setup:
    source = Source()
    geometry = Geometry(Poni("simulated", Simulation(shape=SHAPE).poni_text()), SHAPE)
    return Setup(geometry, source.read, source.to_raw)


@pytest.fixture(scope="module")
def shadowed() -> NDArray[np.float32]:
    """Return 2 counts a pixel, a tenth of it in the shadow."""
    level = np.full(SHAPE, 2.0)
    level[SHADOW] = 0.2
    return np.random.default_rng(3).poisson(level).astype(np.float32)


def test_a_shadow_is_masked_as_outlier_if_regions_are_asked_for(setup: Setup, shadowed: NDArray[np.float32]) -> None:
    mask = Mask(**OFF, regions=True).prepare(setup)(Frame("a", shadowed)).mask
    assert mask is not None
    assert (mask[SHADOW] == OUTLIER).mean() > 0.95
    assert set(np.unique(mask)) == {0, OUTLIER}
    assert np.count_nonzero(mask) < 1.05 * mask[SHADOW].size
    assert not Mask(**OFF).prepare(setup)(Frame("a", shadowed)).masked.any()


def test_a_mask_grows_around_regions(setup: Setup, shadowed: NDArray[np.float32]) -> None:
    mask = Mask(**OFF, regions=True, grow=3).prepare(setup)(Frame("a", shadowed)).mask
    assert mask is not None
    assert (mask[147:150, 40:70] == GROWN).mean() > 0.9


def test_a_shadow_that_the_subtraction_hides_is_found_in_the_raw_counts(
    setup: Setup, shadowed: NDArray[np.float32]
) -> None:
    nothing = np.random.default_rng(4).normal(0, 1, SHAPE).astype(np.float32)
    step = Mask(**OFF, regions=True).prepare(setup)
    assert not step(Frame("a", nothing)).masked.any()
    found = step(Frame("a", nothing, info=Info(raw=shadowed, factors={"background_scale": 1.0}))).masked
    assert found[SHADOW].mean() > 0.95
