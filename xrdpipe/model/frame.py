"""Frame: an image, its mask, and the results of the stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .arrays import Image
from .cake import Cake
from .pattern import Pattern

Plain = TypeVar("Plain", "Frame", "Results", "Info")


@dataclass(frozen=True)
class Results:
    """Results of the integration of one frame.

    Attributes
    ----------
    pattern
        Pattern of the whole frame.
    sectors
        Patterns of parts of the frame, or of the frame in further units, by the suffix of their files.
    cake
        Intensity over radial and azimuthal angle.
    weights
        Pixels in each bin, times their corrections: what the sum of counts was divided by. Float64, (npt,), by the
        suffix of the pattern's files; "" is the pattern of the whole frame.
    correlations
        By suffix, with "cake" for the rows of a cake, what returns the correlation of neighbouring bins, which share
        split pixels: float64, (reach, npt) or (reach, rows, npt), see `numerics.integration.correlations`. Patterns
        without a sigma, and those for which it is not known, are not in it.
    pattern_error
        Returns the estimated error of the pattern and that of its parts, see `numerics.pattern_error`; None where there
        is no estimate. It takes time, so it is called only for the frames whose masks are judged.
    """

    pattern: Pattern | None = None
    sectors: Mapping[str, Pattern] = field(default_factory=dict)
    cake: Cake | None = None
    weights: Mapping[str, NDArray[np.float64]] = field(default_factory=dict, repr=False, compare=False)
    correlations: Mapping[str, Callable[[], NDArray[np.float64]]] = field(
        default_factory=dict, repr=False, compare=False
    )
    pattern_error: Callable[[], tuple[float, tuple[float, ...]]] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Info:
    """Facts about one frame that single features need.

    Attributes
    ----------
    file, digest
        Base name and content hash of the file that the frame comes from.
    exposures
        Number of frames that this one is the sum of.
    bad
        Pixels that the file itself marks as bad, bool, or None if it marks none.
    raw
        Image as it was read, if a stage has subtracted something from it.
    factors
        Scale factors of this frame alone, name -> value; they are recorded in its results.
    notes
        Messages for the user.
    outputs
        Files that were written for the frame, relative to the results folder -> content hash. Others that a stage
        declares are hashed after the last stage.
    inputs
        Path and hash of each file that only some frames use, by the key that names it.
    """

    file: str = ""
    digest: str = ""
    exposures: int = 1
    bad: NDArray[np.bool_] | None = None
    raw: Image | None = None
    factors: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """One frame and the results of the stages so far; every stage returns a new one.

    Images and masks have shape (slow, fast), in the orientation after ``source.transform``.

    Attributes
    ----------
    name
        Unique name of the frame in its run.
    image
        Counts, float32.
    variance
        Variance of ``image`` in counts**2, float32, or None if no later stage needs it.
    mask
        uint8, 0 = good, any other value = masked; None before the mask stage.
    results
        Patterns and cake; empty before the integration.
    header
        Header values of the file, key -> number or text, read on first access. KeyError if there is no such key. In an
        HDF5 file, a key that begins with ``/`` is a path; a dataset with one value per frame gives the value of this
        frame.
    info
        Where the frame comes from, and what single stages add.
    """

    name: str
    image: Image
    variance: Image | None = None
    mask: NDArray[np.uint8] | None = None
    results: Results = field(default_factory=Results)
    header: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    info: Info = field(default_factory=Info)

    @property
    def pattern(self) -> Pattern | None:
        """The pattern of the whole frame; None before the integration."""
        return self.results.pattern

    @property
    def masked(self) -> NDArray[np.bool_]:
        """Pixels that do not count, bool, (slow, fast): masked ones, or without a mask those that are not finite."""
        return ~np.isfinite(self.image) if self.mask is None else self.mask != 0

    def with_results(self, **changes: Any) -> Frame:
        """Return the frame with some of its `Results` replaced."""
        return changed(self, results=changed(self.results, **changes))

    def with_patterns(self, change: Callable[[str, Pattern], Pattern]) -> Frame:
        """Return the frame with its pattern and those of its sectors changed, given the suffix of their files."""
        pattern, sectors = self.results.pattern, self.results.sectors
        return self.with_results(
            pattern=None if pattern is None else change("", pattern),
            sectors={suffix: change(suffix, sector) for suffix, sector in sectors.items()},
        )

    def with_sectors(self, results: Mapping[str, Results]) -> Frame:
        """Return the frame with the patterns of other results as its sectors, by the suffix of their files."""
        weights = {suffix: each.weights[""] for suffix, each in results.items() if "" in each.weights}
        found = {suffix: each.correlations[""] for suffix, each in results.items() if "" in each.correlations}
        return self.with_results(
            sectors={suffix: each.pattern for suffix, each in results.items() if each.pattern is not None},
            weights={**self.results.weights, **weights},
            correlations={**self.results.correlations, **found},
        )

    def with_info(self, **changes: Any) -> Frame:
        """Return the frame with some of its `Info` replaced."""
        return changed(self, info=changed(self.info, **changes))


def changed(before: Plain, **changes: Any) -> Plain:
    """Return a copy with some attributes replaced, as `dataclasses.replace` does in ten times the time."""
    if unknown := changes.keys() - vars(before).keys():
        raise TypeError(f"{type(before).__name__} has no {', '.join(sorted(unknown))}")
    after = object.__new__(type(before))
    vars(after).update(vars(before), **changes)
    return after
