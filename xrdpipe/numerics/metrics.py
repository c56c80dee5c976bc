"""Metrics: numbers that say how good a frame and its pattern are; see docs/metrics.md for each definition."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..model.frame import Frame
from ..model.pattern import Pattern

STRONGEST = 5  # peaks that count


REASONS = (  # the bits of a mask, lowest first
    *("user", "detector", "edge", "lower", "upper", "outlier", "not_finite", "grown"),
)


METRICS = (  # all there are; `sweep.rank` knows no others
    "pattern_error",
    "ring_scatter",
    "spottiness",
    "signal_to_background",
    "peak_width",
    "sigma_over_intensity",
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
    *("signal_to_background", "peak_width"),
)


def metrics(frame: Frame) -> dict[str, float]:
    """All metrics of a processed frame, name -> value; those that do not apply are left out."""
    found = masked_by(frame.mask) if frame.mask is not None else {}
    if frame.pattern is not None:
        found |= pattern_metrics(frame.pattern)
    return {name: float(f"{value:.6g}") for name, value in found.items() if np.isfinite(value)} | dict(frame.factors)


def masked_by(mask: NDArray[np.uint8]) -> dict[str, float]:
    """The share of the pixels that each step masked; a pixel counts for the first step that masked it."""
    from .reduction import histogram

    counts = histogram(mask.ravel())
    bits = np.arange(256)
    shares = {name: counts[(bits & -bits) == 1 << bit].sum() / mask.size for bit, name in enumerate(REASONS)}
    return {f"masked_{name}": float(share) for name, share in shares.items()}


def pattern_metrics(pattern: Pattern) -> dict[str, float]:
    """Metrics of a pattern alone: bins, sigma, what its making says (`Pattern.quality`), the strongest peaks."""
    filled = ~np.isnan(pattern.intensity)
    found: dict[str, float] = {
        "negative_bins": int((pattern.intensity[filled] < 0).sum()),
        "empty_bins": int((~filled).sum()),
        **pattern.quality,
    }
    if pattern.sigma is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = pattern.sigma / np.abs(pattern.intensity)
        found["sigma_over_intensity"] = (
            float(np.median(ratio[np.isfinite(ratio)])) if np.isfinite(ratio).any() else np.nan
        )
    return {**found, **peaks(pattern.radial[filled], pattern.intensity[filled])}


def peaks(radial: NDArray[np.float64], intensity: NDArray[np.float64]) -> Mapping[str, float]:
    """Of the strongest peaks: median of height over what they stand on, and median of their full width at half height.

    Heights are prominences (`scipy.signal.find_peaks`), widths are in the unit of ``radial``.
    """
    from scipy.signal import find_peaks, peak_widths

    if intensity.size < 3:
        return {}
    top, about = find_peaks(intensity, prominence=0)
    order = np.argsort(about["prominences"])[::-1][:STRONGEST]
    if order.size == 0:
        return {}
    strongest, height = top[order], about["prominences"][order]
    floor = np.maximum(np.abs(intensity[strongest] - height), 1e-3 * height)
    width = peak_widths(intensity, strongest)
    places = np.arange(radial.size)
    spans = np.interp(width[3], places, radial) - np.interp(width[2], places, radial)
    return {"signal_to_background": float(np.median(height / floor)), "peak_width": float(np.median(spans))}
