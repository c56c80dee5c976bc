"""Metrics of a frame and its pattern; docs/metrics.md defines each of them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..model.arrays import read_only
from ..model.frame import Frame
from ..model.pattern import Pattern

STRONGEST = 5  # number of peaks that the peak metrics use

REASONS = (  # the bits of a mask, lowest first
    *("user", "detector", "edge", "lower", "upper", "outlier", "not_finite", "grown"),
)

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

MEANINGS = {  # in a few words; docs/metrics.md has the definitions
    "pattern_error": "estimated error of the pattern over the pattern; compares masks",
    "ring_scatter": "standard deviation of the pixels of a bin over its intensity, median",
    "spottiness": "below 0.05 a smooth powder, above 0.15 strongly spotty",
    "signal_to_background": "height of the five strongest peaks over what they stand on, median",
    "peak_width": "full width at half height of these peaks, median",
    "sigma_over_intensity": "median over the bins",
    "reduced_chi2": "scatter in the rings over that of counting; 1: sigma is right",
    "local_chi2": "the same of neighbouring pixels",
    "flat_scatter": "scatter of neighbouring pixels beyond counting noise",
    "mask_change": "change of the pattern by masked pixels that fit their ring",
    "oversubtracted_bins": "bins below zero by more than 3 sigma",
    "total_intensity": "sum of the good pixels, counts",
    "negative_bins": "bins below zero",
    "empty_bins": "bins without a good pixel",
    "masked_fraction": "share of masked pixels",
    "background_scale": "what the background was multiplied with",
    "background_scale_sigma": "standard deviation of the fitted scale",
    "monitor": "what the pattern was divided by",
    "exposure": "what the pattern was divided by",
    "normalization": "what the pattern was divided by",
    "transmission": "what the pattern was divided by",
}

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
    from .reduction import lowest_bits

    counts = lowest_bits(mask.ravel()).tolist()
    return {f"masked_{name}": count / mask.size for name, count in zip(REASONS, counts, strict=True)}


def pattern_metrics(pattern: Pattern) -> dict[str, float]:
    """Return the metrics of a pattern alone: bins, sigma, `Pattern.quality`, strongest peaks."""
    from .reduction import describe_pattern

    axis, intensity = (np.ascontiguousarray(each, np.float64) for each in (pattern.radial, pattern.intensity))
    negative, empty, ratio, width = describe_pattern(read_only(axis), read_only(intensity), STRONGEST)
    values: dict[str, float] = {"negative_bins": negative, "empty_bins": empty, **pattern.quality}
    if pattern.sigma is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = pattern.sigma / np.abs(pattern.intensity)
        relative = relative[np.isfinite(relative)]
        values["sigma_over_intensity"] = median(relative) if relative.size else np.nan
    return {**values, "signal_to_background": ratio, "peak_width": width}


def median(values: NDArray[np.float64]) -> float:
    """Return ``np.median`` of values without NaN, which takes longer for few of them."""
    low, high = (values.size - 1) // 2, values.size // 2
    ordered = np.partition(values, (low, high))
    return float((ordered[low] + ordered[high]) / 2)
