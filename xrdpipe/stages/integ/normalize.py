"""Division of the results of an integration by monitor and exposure time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np

from ...model.cake import Cake
from ...model.frame import Frame
from ...model.pattern import Pattern
from ..scalar_lookup import ScalarLookup
from ..stage import Step

Result = TypeVar("Result", Pattern, Cake)


def normalize(integrate: Step, divisors: Mapping[str, ScalarLookup]) -> Step:
    """Return a step that integrates, then divides intensity and sigma by numbers of the frame.

    Parameters
    ----------
    integrate
        The step that integrates.
    divisors
        Lookups of the numbers, by name. The step raises FrameError for a frame that lacks one of them.
    """
    if not divisors:
        return integrate

    def divide(frame: Frame) -> Frame:
        factors = {name: lookup.of(frame) for name, lookup in divisors.items()}
        factor = float(np.prod(list(factors.values())))
        divided = divided_frame(integrate(frame), factor)
        return divided.with_info(factors={**divided.info.factors, **factors})

    return divide


def divided_frame(frame: Frame, factor: float) -> Frame:
    """Return the frame with intensity and sigma of its pattern, sectors and cake divided by a number."""
    cake = frame.results.cake
    divided = frame.with_patterns(lambda _, pattern: _divided(pattern, factor))
    return divided.with_results(cake=None if cake is None else _divided(cake, factor))


def _divided(result: Result, factor: float) -> Result:
    sigma = None if result.sigma is None else result.sigma / factor
    return replace(result, intensity=result.intensity / factor, sigma=sigma)
