"""What is known of a view: its configuration, and what its frame became."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.frame import Frame
from ..model.record import Record
from ..pipeline.pipeline import Pipeline
from .view import View
from .words import Start


@dataclass(frozen=True)
class Configured:
    """A composed configuration.

    Attributes
    ----------
    values
        The configuration as plain values.
    choices
        Group -> option.
    pipeline
        The checked source and stages.
    """

    values: Mapping[str, Any]
    choices: Mapping[str, str]
    pipeline: Pipeline


@dataclass(frozen=True)
class Result:
    """What a view shows.

    Attributes
    ----------
    view, start
        The view, and its command line without the drawn mask.
    configured
        Its configuration without the drawn mask.
    raw
        The frame as it was read.
    frame
        The frame after all stages.
    drawn
        The mask to save, raw orientation, uint8: what the shapes and ``mask.file`` mask; None without shapes.
    record
        Metrics and notes, as a run records them.
    seconds
        How long it took.
    exact
        False for a preview, see `preview`.
    """

    view: View
    start: Start
    configured: Configured
    raw: Frame
    frame: Frame
    drawn: NDArray[np.uint8] | None
    record: Record
    seconds: float
    exact: bool = True

    @cached_property
    def pictures(self) -> dict[str, Any]:
        """What the pictures keep, by layer."""
        return {}
