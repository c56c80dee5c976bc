"""What is known of a view: its configuration, and what its frame became."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..model.frame import Frame
from ..model.record import Record, pending_record
from ..pipeline.pipeline import Pipeline
from .line import Wanted
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


class Used(NamedTuple):
    """What a view is made of: its command line, frame, configuration without and with the drawn mask, and that mask."""

    start: Start
    wanted: Wanted
    plain: Configured
    configured: Configured
    drawn: NDArray[np.uint8] | None


def record_of(wanted: Wanted, frame: Frame) -> Record:
    """Return the record of a frame, without its pattern."""
    return replace(
        pending_record(wanted.reference),
        status="done",
        masked_fraction=round(np.count_nonzero(frame.masked) / frame.image.size, 6),
        notes=list(frame.info.notes),
    )
