"""What flows through the pipeline."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import xrdpipe.api  # noqa: F401 - tells patterns how they are drawn
from xrdpipe.model.frame import Frame
from xrdpipe.model.pattern import Pattern

IMAGE = np.array([[1, np.nan], [np.inf, 4]], np.float32)


def test_masked_is_what_the_mask_says_or_without_one_what_is_not_finite() -> None:
    assert Frame("a", IMAGE).masked.tolist() == [[False, True], [True, False]]
    mask = np.array([[7, 0], [0, 0]], np.uint8)
    assert Frame("a", IMAGE, mask=mask).masked.tolist() == [[True, False], [False, False]]
    assert Frame("a", IMAGE, mask=mask).masked.dtype == bool


def test_frames_and_patterns_cannot_be_changed_only_replaced() -> None:
    frame = Frame("a", IMAGE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        frame.name = "b"  # type: ignore[misc]
    assert dataclasses.replace(frame, name="b").image is IMAGE


def test_a_pattern_shows_itself_as_a_picture_in_a_notebook() -> None:
    pattern = Pattern(np.arange(5.0), np.arange(5.0), np.ones(5), "2th_deg")
    assert pattern._repr_png_().startswith(b"\x89PNG")
