"""A small integrator of pyFAI, and a frame for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from xrdpipe.numerics import constants

F4 = np.float32
SHAPE = (120, 131)


@pytest.fixture(scope="module")
def integrator() -> Any:
    from pyFAI.detectors import Detector
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    detector = Detector(2e-4, 2e-4, max_shape=SHAPE)
    return AzimuthalIntegrator(dist=0.03, poni1=0.011, poni2=0.014, rot1=0.1, detector=detector, wavelength=2e-11)


@pytest.fixture(scope="module")
def frame() -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    rng = np.random.default_rng(3)
    image = rng.poisson(100, SHAPE).astype(F4) - F4(0.3) * rng.poisson(20, SHAPE).astype(F4)
    image.flat[rng.choice(image.size, 300, replace=False)] = [np.nan, np.inf, -np.inf] * 100
    return image, (rng.random(SHAPE) < 0.1).astype(np.uint8) * constants.OUTLIER
