"""Multi: one pattern from frames at several positions of the detector, as pyFAI's MultiGeometry makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...geometry.poni import Poni
from ...io.formats import Format
from ...io.writing import encoded, write_bytes
from ...model.cake import Cake
from ...model.errors import ConfigError, FrameError, require
from ...model.identity import content_hash
from ...model.pattern import Pattern
from ...model.series import MERGED, Series
from ..collector import Collector
from ..stage import NOTHING, Makes, Setup, Step
from .integ import Integ
from .methods import integration_method

if TYPE_CHECKING:
    from ...model.record import Record


@dataclass(frozen=True)
class Multi(Integ):
    """Integrate each frame, and merge the patterns of all frames into one.

    The merged intensity is the sum of all counts over the sum of all normalizations, as in pyFAI's ``MultiGeometry``.
    The normalization holds monitor and exposure time, and with ``correctSolidAngle`` the absolute solid angle of the
    pixels. The keys are those of `Integ`; ``radial_range`` or ``edges`` is needed, so that all frames have one axis.
    """

    keeps_sums: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        good = self.error_model in (None, "poisson")
        require(good, "error_model", self.error_model, "poisson or null, as errors of several frames are merged")

    @property
    def makes(self) -> Makes:
        """The columns of the patterns; frames are merged."""
        return replace(super().makes, merged=True)

    def check(self, poni: Poni, line: Makes = NOTHING) -> None:
        """Raise ConfigError as `Integ` does, and without a common axis or with a method that has no sparse matrix."""
        super().check(poni, line)
        if self.radial_range is None and self.edges is None:
            raise ConfigError("integ.radial_range: missing; all frames need one axis, as in integ.radial_range=[1,20]")
        method = integration_method(self.method)
        if not (method.algo_is_sparse and method.impl_lower == "cython"):
            raise ConfigError(f"integ.method={self.method}: for integ=multi a sparse one, such as [full,csr,cython]")

    def _integrator(self, setup: Setup) -> Step:
        step = super()._integrator(setup)
        if not self.correctSolidAngle:
            return step
        integrator = setup.geometry.integrator
        detector = integrator.detector
        # solidAngleArray is relative to the pixel at the point of normal incidence
        unit = np.array([1.0, detector.pixel1 * detector.pixel2 / integrator.dist**2, 1.0, 1.0])

        def integrate(frame: Any) -> Any:
            frame = step(frame)
            return frame.with_results(pattern=replace(frame.pattern, sums=frame.pattern.sums * unit[:, np.newaxis]))

        return integrate


class MergedSums:
    """Sums of the patterns of frames; memory does not depend on their number.

    The sums are compensated (Neumaier, Z. angew. Math. Mech. 54 (1974), 39-51), so that the order of the frames does
    not matter.
    """

    def __init__(self) -> None:
        self._pattern: Pattern | None = None
        self._sums = self._rest = np.empty(0)

    def add(self, pattern: Pattern) -> bool:
        """Add a pattern; return False if it has no sums, raise FrameError if it has another axis than those before."""
        if pattern.sums is None:
            return False
        if self._pattern is None:
            self._pattern = pattern
            self._sums, self._rest = np.zeros_like(pattern.sums), np.zeros_like(pattern.sums)
        if not np.allclose(pattern.radial, self._pattern.radial, rtol=1e-12, atol=0):
            raise FrameError("integ=multi: the radial axis is not that of the frames before")
        before, now = self._sums, self._sums + pattern.sums
        larger = np.abs(before) >= np.abs(pattern.sums)
        self._rest += np.where(larger, (before - now) + pattern.sums, (pattern.sums - now) + before)
        self._sums = now
        return True

    @property
    def pattern(self) -> Pattern | None:
        """The merged pattern; None without a frame."""
        return None if self._pattern is None else merged_pattern(self._pattern, self._sums + self._rest)


class Merged(Collector):
    """Base class of what writes the merged pattern of all frames.

    Parameters
    ----------
    series
        The frames of the run.
    files
        The files that `write` writes.
    """

    def __init__(self, series: Series, files: Sequence[str]) -> None:
        self.series, self.files = series, tuple(files)
        self._added: set[str] = set()
        self._sums = MergedSums()

    def write(self, pattern: Pattern, merged: str) -> None:
        """Write the files; ``merged`` says of which frames the pattern is."""
        raise NotImplementedError

    def holds(self, record: Record) -> bool:
        """Return False: the sums of an earlier run are not kept, so all frames are processed again."""
        return False

    def add(self, record: Record, results: Mapping[str, Pattern | Cake]) -> None:
        """Add the sums of a frame."""
        pattern = results.get("")
        if isinstance(pattern, Pattern) and self._sums.add(pattern):
            self._added.add(record.name)

    def end(self, records: Mapping[str, Record]) -> list[str]:
        """Write the merged pattern."""
        done = {name: _contents(record) for name, record in records.items() if record.status == "done"}
        if set(done) != self._added:
            for file in self.files:
                (self.series.folder / file).unlink(missing_ok=True)
            return [f"{self.files[0]} is not written: it needs all frames in one run; say resume=true"]
        pattern = self._sums.pattern
        if pattern is None:
            return []
        digest = content_hash("".join(f"{name} {done[name]}\n" for name in sorted(done)).encode())
        self.write(pattern, f"{len(done)} frames {digest}")
        missing = len(records) - len(done)
        return [f"{self.files[0]} lacks {missing} of {len(records)} frames"] if missing else []


class MergedPattern(Merged):
    """Write the merged pattern into text files.

    Parameters
    ----------
    series
        The frames of the run.
    formats
        Formats of the pattern.
    """

    def __init__(self, series: Series, formats: Sequence[Format]) -> None:
        super().__init__(series, [f"{MERGED}{form.suffix}" for form in formats])
        self._formats = formats

    def write(self, pattern: Pattern, merged: str) -> None:
        """Write a file in each format."""
        header = {**self.series.provenance, "method": pattern.method, "merged": merged}
        for file, form in zip(self.files, self._formats, strict=True):
            write_bytes(self.series.folder, file, encoded(form.text(pattern, header)))


def _contents(record: Record) -> str:
    """Return the hashes of a frame and of the files that it alone uses."""
    return " ".join([record.hash, *(f"{key} {each['hash']}" for key, each in sorted(record.inputs.items()))])


def merged_pattern(pattern: Pattern, sums: NDArray[np.float64]) -> Pattern:
    """Return the pattern of sums over frames.

    Parameters
    ----------
    pattern
        The pattern of one of the frames: axis, unit, and whether there is a sigma.
    sums
        Signal, normalization, variance and count, float64, (4, bins).
    """
    signal, total, variance, count = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        intensity = np.where(count > 0, signal / total, np.nan)
        sigma = None if pattern.sigma is None else np.where(count > 0, np.sqrt(variance) / total, np.nan)
    return replace(pattern, intensity=intensity, sigma=sigma, quality={}, sums=None)
