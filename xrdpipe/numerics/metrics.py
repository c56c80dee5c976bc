"""Metrics of a frame and its pattern; docs/metrics.md defines each of them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..model.frame import Frame
from ..model.pattern import Pattern

STRONGEST = 5  # number of peaks that the peak metrics use

REASONS = (  # the bits of a mask, lowest first
    *("user", "detector", "edge", "lower", "upper", "outlier", "not_finite", "grown"),
)

FIRST_REASON = np.array([[bits & -bits == 1 << bit for bits in range(256)] for bit in range(len(REASONS))], np.int64)

METRICS = (  # all metrics, which `sweep.rank` accepts
    "pattern_error",
    "ring_scatter",
    "spottiness",
    "signal_to_background",
    "peak_width",
    "sigma_over_intensity",
    "reduced_chi2",
    "local_chi2",
    "flat_scatter",
    "mask_change",
    "oversubtracted_bins",
    "total_intensity",
    "negative_bins",
    "empty_bins",
    "masked_fraction",
    *(f"masked_{reason}" for reason in REASONS),
    "seconds",
)

NAMES = (
    *(f"masked_{reason}" for reason in REASONS),
    *("negative_bins", "empty_bins", "total_intensity", "ring_scatter", "spottiness", "sigma_over_intensity"),
    *("signal_to_background", "peak_width", "pattern_error"),
    *("reduced_chi2", "local_chi2", "flat_scatter", "mask_change", "oversubtracted_bins"),
)


def metrics(frame: Frame) -> dict[str, float]:
    """Return all metrics of a processed frame that apply to it, name -> value."""
    values = masked_by(frame.mask) if frame.mask is not None else {}
    if frame.pattern is not None:
        values |= pattern_metrics(frame.pattern)
    return {name: float(f"{value:.6g}") for name, value in values.items() if math.isfinite(value)} | dict(
        frame.info.factors
    )


def masked_by(mask: NDArray[np.uint8]) -> dict[str, float]:
    """Return the share of pixels that each step masked; a pixel counts for the first step that masked it."""
    from .reduction import histogram

    counts = (FIRST_REASON @ histogram(mask.ravel())).tolist()
    return {f"masked_{name}": count / mask.size for name, count in zip(REASONS, counts, strict=True)}


def pattern_metrics(pattern: Pattern) -> dict[str, float]:
    """Return the metrics of a pattern alone: bins, sigma, `Pattern.quality`, strongest peaks."""
    filled = ~np.isnan(pattern.intensity)
    values: dict[str, float] = {
        "negative_bins": int((pattern.intensity[filled] < 0).sum()),
        "empty_bins": int((~filled).sum()),
        **pattern.quality,
    }
    if pattern.sigma is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = pattern.sigma / np.abs(pattern.intensity)
        values["sigma_over_intensity"] = median(ratio[np.isfinite(ratio)]) if np.isfinite(ratio).any() else np.nan
    return {**values, **peaks(pattern.radial[filled], pattern.intensity[filled])}


def median(values: NDArray[np.float64]) -> float:
    """Return ``np.median`` of values without NaN, which takes longer for few of them."""
    low, high = (values.size - 1) // 2, values.size // 2
    ordered = np.partition(values, (low, high))
    return float((ordered[low] + ordered[high]) / 2)


def peaks(radial: NDArray[np.float64], intensity: NDArray[np.float64]) -> Mapping[str, float]:
    """Return ``signal_to_background`` and ``peak_width`` of the strongest peaks.

    The former is the median ratio of height to background, the latter the median full width at half height.

    Parameters
    ----------
    radial
        Axis of the bins, shape (npt,); widths are in its unit.
    intensity
        Intensity without NaN, shape (npt,).

    Returns
    -------
    Mapping
        Both metrics; empty without a peak. Heights are prominences, see `reduction.find_peaks`.
    """
    from .reduction import find_peaks

    if intensity.size < 3:
        return {}
    top, prominence, left, right = find_peaks(intensity).T
    order = np.argsort(prominence)[::-1][:STRONGEST]
    if order.size == 0:
        return {}
    strongest, height = intensity[top[order].astype(int)], prominence[order]
    floor = np.maximum(np.abs(strongest - height), 1e-3 * height)
    positions = np.arange(radial.size)
    spans = np.interp(right[order], positions, radial) - np.interp(left[order], positions, radial)
    return {"signal_to_background": median(height / floor), "peak_width": median(spans)}
