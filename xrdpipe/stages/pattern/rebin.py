"""Rebin: the pattern on wider bins of constant steps in q, 2theta or log q."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...model.errors import FrameError, choice, require
from ...model.frame import Frame
from ...model.pattern import Pattern
from ..integ.correlation import of_matrix, to_matrix
from ..integ.methods import radial_unit
from ..stage import Makes, Setup, Stage, Step

Floats = NDArray[np.float64]
UNITS = ("q_A^-1", "q_nm^-1", "2th_deg", "2th_rad")
ROUNDING = 1e-6  # of a step
WHOLE = 1e-3  # of a bin: so far may the edges of pyFAI's axes be off, which have the digits of float32


@dataclass(frozen=True)
class Rebin(Stage):
    """Merge bins into wider ones; see `merge_bins`.

    Attributes
    ----------
    step
        Width of the new bins, in ``unit``; with ``log`` that of the natural logarithm, so 0.01 is one percent. None
        leaves the bins as they are.
    unit
        Unit of the new axis, one of `UNITS`. None keeps that of the pattern.
    log
        True for constant steps of the logarithm.
    range
        First and last edge of the new bins, in ``unit``; the last bin ends at or below it. None covers the pattern,
        with edges at multiples of ``step``.
    """

    step: float | None = field(default=None, metadata={"low": 0})
    unit: str | None = field(default=None, metadata={"choices": UNITS})
    log: bool = False
    range: list[float] | None = None

    def __post_init__(self) -> None:
        step, limits = self.step, self.range
        require(step is None or (math.isfinite(step) and step > 0), "step", step, "a number > 0 expected")
        if self.unit is not None:
            choice("unit", self.unit, UNITS)
        if limits is not None:
            good = len(limits) == 2 and bool(np.isfinite(limits).all()) and limits[0] < limits[1]
            require(good, "range", limits, "two numbers expected, the smaller one first")
            require(not self.log or limits[0] > 0, "range", limits, "numbers above 0 expected where log=true")
        for key in ("unit", "log", "range"):
            unused = step is None and getattr(self, key)
            require(not unused, key, getattr(self, key), "without a step; set the step as well")

    @property
    def active(self) -> bool:
        """True if there is a step."""
        return self.step is not None

    @property
    def makes(self) -> Makes:
        """The unit of the new axis."""
        return Makes(unit=self.unit or "")

    def prepare(self, setup: Setup) -> Step:
        """Return the step that rebins the pattern and the sectors; a cake stays as it is."""
        wavelength = setup.geometry.poni.wavelength
        label = radial_unit(self.unit).label if self.unit else ""

        def rebin(frame: Frame) -> Frame:
            correlations = dict(frame.results.correlations)

            def rebinned(suffix: str, pattern: Pattern) -> Pattern:
                weights = frame.results.weights.get(suffix)
                if weights is None:
                    raise FrameError("pattern.rebin: the integration does not say how many pixels each bin has")
                unit = self.unit or pattern.unit
                old = bin_edges(pattern.radial)
                new = self.edges(convert(old[[0, -1]], pattern.unit, unit, wavelength), len(pattern.radial))
                inside = convert(new, unit, pattern.unit, wavelength)
                self._refuse_narrow(inside, old)
                correlation = correlations[suffix]() if suffix in correlations else None
                merged = merge_bins(old, pattern.intensity, pattern.sigma, weights, inside, correlation)
                if (after := merged.correlations) is not None:
                    correlations[suffix] = lambda: after
                values = replace(pattern, intensity=merged.intensity, sigma=merged.sigma, quality=_quality(pattern))
                return replace(values, radial=(new[1:] + new[:-1]) / 2, unit=unit, label=label or pattern.label)

            return frame.with_patterns(rebinned).with_results(correlations=correlations)

        return rebin

    def edges(self, covered: Floats, bins: int) -> Floats:
        """Return the edges of the new bins in ``unit``.

        Parameters
        ----------
        covered
            First and last edge of the pattern, in ``unit``.
        bins
            Number of bins of the pattern.

        Raises
        ------
        FrameError
            There would be more bins than now, or none.
        """
        step = self.step or 1.0
        first, last = covered if self.range is None else self.range
        if self.log:
            if first <= 0:
                ways = "set pattern.rebin.range=[first,last]"
                raise FrameError(f"pattern.rebin.log=true: the pattern begins at or below 0; {ways}")
            first, last = math.log(first), math.log(last)
        if self.range is None:
            low, high = math.floor(first / step + ROUNDING), math.ceil(last / step - ROUNDING)
            start = 0.0
        else:
            low, high, start = 0, math.floor((last - first) / step + ROUNDING), first
        if high - low > bins + 1:
            raise FrameError(f"pattern.rebin.step={step:g}: makes {high - low} bins of {bins}; say a larger one")
        if high <= low:
            raise FrameError(f"pattern.rebin.step={step:g}: wider than the range; say a smaller one")
        edges = start + np.arange(low, high + 1) * step
        return np.exp(edges) if self.log else edges

    def _refuse_narrow(self, new: Floats, old: Floats) -> None:
        """Raise FrameError if a new bin is narrower than those of the pattern; both in the unit of the pattern."""
        width, narrowest = old[1] - old[0], np.diff(new).min()
        if narrowest < width * (1 - 1e-6):
            ways = "say a larger step, pattern.rebin.range=[first,last], or more bins with integ.npt"
            raise FrameError(f"pattern.rebin.step={self.step:g}: bins narrower than those of the pattern; {ways}")


def bin_edges(radial: Floats) -> Floats:
    """Return the edges of uniform bins, (npt + 1,), from their centres.

    Raises
    ------
    FrameError
        The bins are not uniform.
    """
    steps = np.diff(radial)
    if not steps.size or np.ptp(steps) > 1e-3 * steps.mean():
        raise FrameError("pattern.rebin: the bins of the pattern are not uniform (integ.edges); leave out one of them")
    step = (radial[-1] - radial[0]) / steps.size
    edges: Floats = radial[0] + (np.arange(radial.size + 1) - 0.5) * step
    return edges


def convert(values: Floats, unit: str, to: str, wavelength: float | None) -> Floats:
    """Convert values of a radial axis between `UNITS`.

    Parameters
    ----------
    values
        Values in ``unit``.
    unit, to
        Units.
    wavelength
        In m.

    Raises
    ------
    FrameError
        One of the units is another one, there is no wavelength, or q is beyond backscattering.
    """
    if unit == to:
        return values
    if unit not in UNITS:
        raise FrameError(f"pattern.rebin.unit={to}: the pattern is over {unit}; from {', '.join(UNITS)} alone")
    if unit[0] != to[0] and not wavelength:
        raise FrameError(f"pattern.rebin.unit={to}: needs a wavelength; say geometry.wavelength=... (m)")
    scale = {"q_A^-1": 1.0, "q_nm^-1": 0.1, "2th_deg": math.pi / 180, "2th_rad": 1.0}
    common = values * scale[unit]
    if unit[0] != to[0]:
        factor = 4 * math.pi / (1e10 * (wavelength or 1.0))  # of q = 4 pi / lambda sin(theta), 1/angstrom
        if to[0] == "q":
            common = factor * np.sin(common / 2)
        elif np.abs(common).max() > factor:
            raise FrameError(f"pattern.rebin.unit={to}: q is beyond 180 degrees; give pattern.rebin.range=[first,last]")
        else:
            common = 2 * np.arcsin(common / factor)
    converted: Floats = common / scale[to]
    return converted


class Merged(NamedTuple):
    """Intensity, sigma, weights and `Results.correlations` of merged bins; None without sigma."""

    intensity: Floats
    sigma: Floats | None
    weights: Floats
    correlations: Floats | None


def merge_bins(
    old: Floats,
    intensity: Floats,
    sigma: Floats | None,
    weights: Floats,
    new: Floats,
    correlations: Floats | None = None,
) -> Merged:
    """Return the means of intensity in new bins, weighted with the pixels in each bin.

    A new bin takes of an old one the share f of its width that overlaps: with weights w and the correlation r of two
    bins, ``I = sum(f w I) / sum(f w)`` and ``sigma**2 = sum(f w sigma f' w' sigma' r) / sum(f w)**2``, the second sum
    over all pairs of bins. A thousandth of a bin goes with the rest of it.

    Parameters
    ----------
    old, new
        Edges of the bins, ascending, in the same unit.
    intensity, sigma
        Of the old bins, (len(old) - 1,). Those of bins without weight do not count.
    weights
        Pixels times corrections of the old bins.
    correlations
        Those of neighbouring old bins, (reach, len(old) - 1), see `Results.correlations`; None where they share no
        pixels.

    Returns
    -------
    Merged
        Of the new bins. Without weight, intensity is NaN, or the finite value that old bins without weight have. The
        sum of ``weights * intensity`` is that of the old bins, where the new ones cover them.
    """
    from scipy.sparse import coo_array

    full = weights > 0
    source, target, share = _overlaps(old, new)
    keep = full[source]
    source, target, share = source[keep], target[keep], share[keep] * weights[source[keep]]
    total = coo_array((share, (target, source)), (len(new) - 1, len(old) - 1)).tocsr()
    weight = total.sum(axis=1)
    divisor = np.where(weight > 0, weight, np.nan)
    empty = intensity[~full]
    blank = empty[0] if empty.size else np.nan
    mean = np.where(weight > 0, total @ np.where(full, intensity, 0) / divisor, blank)
    if sigma is None:
        return Merged(mean, None, weight, None)
    errors = total.multiply(np.where(full, sigma, 0)[np.newaxis]).tocsr()
    covariance = (errors if correlations is None else errors @ to_matrix(correlations)) @ errors.T
    return Merged(mean, np.sqrt(covariance.diagonal()) / divisor, weight, of_matrix(covariance))


def _overlaps(old: Floats, new: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Return the pairs of old and new bins that overlap, given their edges, and the share of the old one in each."""
    cuts = np.unique(np.concatenate([old, new]))
    cuts = cuts[(cuts >= max(old[0], new[0])) & (cuts <= min(old[-1], new[-1]))]
    middle = (cuts[1:] + cuts[:-1]) / 2
    source, target = (np.searchsorted(edges, middle, side="right") - 1 for edges in (old, new))
    share = np.diff(cuts) / (old[source + 1] - old[source])
    share[share > 1 - WHOLE] = 1
    keep = share >= WHOLE
    return source[keep], target[keep], share[keep]


def _quality(pattern: Pattern) -> dict[str, float]:
    """Return the metrics of the integration that the new bins leave true."""
    return {name: value for name, value in pattern.quality.items() if name != "empty_bins"}
