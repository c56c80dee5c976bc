"""The calibrated geometry, and what depends on it and the frame's shape alone: made once a process and kept."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cache import Arrays, known, load, store
from .frame import locked
from .poni import Calibration, content, from_fit2d, parsed, split, with_changes
from .provenance import content_hash, versions
from .stage import ConfigError, nearest

_NUMBERS = ("distance", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength", "pixelsize1", "pixelsize2")
LAYOUT = 2  # of the arrays that are kept on disk: raise it whenever their meaning changes
ARC = 64  # pixels of an arc: enough for a median, and few enough for it to be short
FARTHEST = 1e6  # m: beyond it pixels are at one angle, as far as numbers tell; also of what is no length
MOST_KEPT = 4  # sets of arrays in memory, some 50 MB each: a sweep over npt makes many


@dataclass(frozen=True)
class Poni:
    """A calibration, checked; lengths in m, angles in rad.

    ``text``: of a PONI file (versions 1 to 3, pyFAI's ``PoniFile``) or of a JSON configuration of pyFAI; ``changes``:
    the values that the user gave in place of its own (name in `poni.Calibration` -> value, JSON).
    """

    path: str
    text: str = field(repr=False)
    changes: str = "{}"

    @classmethod
    def read(cls, path: str) -> Poni:
        """Read and check what `poni.content` reads; ConfigError says what is missing or wrong in it."""
        return cls(path, content(path)).checked()

    @classmethod
    def of(cls, path: str | None, calibration: Calibration) -> Poni:
        """The geometry of a file with the values of ``calibration``; without a file, of Fit2D's numbers alone."""
        poni = None if path is None else cls.read(path)
        if numbers := calibration.numbers:
            # The numbers are in the text, and its hash; of the file only detector and wavelength still count.
            poni = cls(path or "geometry.fit2d", from_fit2d(numbers, poni.values if poni else {}))
        assert poni is not None
        return replace(poni, changes=json.dumps(calibration.changed)).checked()

    @property
    def name(self) -> str:
        """Its file by base name, with the place in it."""
        file, inside = split(self.path)
        return f"{file.name}::{inside}" if inside else file.name

    @property
    def changed(self) -> dict[str, float]:
        """The values that are not the file's."""
        return dict(json.loads(self.changes))

    @cached_property
    def values(self) -> Mapping[str, str]:
        """Key of a PONI file (lower case) -> value."""
        try:
            return with_changes(parsed(self.text), self.changed)
        except (ValueError, AttributeError) as error:
            raise ConfigError(f"poni={self.path}: {error}") from error

    def checked(self) -> Poni:
        """Itself; ConfigError says what is missing or wrong."""
        self._check()
        return self

    def _check(self) -> None:
        if not self.text.strip():
            raise ConfigError(f"poni={self.path}: the file is empty")
        values = self.values
        missing = [key for key in ("distance", "poni1", "poni2") if values.get(key, "None") == "None"]
        if missing:
            raise ConfigError(f"poni={self.path}: not a PONI file, {', '.join(missing)} missing")
        for key in _NUMBERS:
            if values.get(key, "None") == "None":
                continue
            try:
                number = float(values[key])
            except ValueError as error:
                raise ConfigError(f"poni={self.path}: {key} is {values[key]!r}, a number is expected") from error
            positive = key in ("distance", "wavelength", "pixelsize1", "pixelsize2")
            if not abs(number) < FARTHEST or (positive and number <= 0):
                raise ConfigError(f"poni={self.path}: {key} is {number}, which cannot be")
        try:
            version = float(values.get("poni_version", 1))
            config = json.loads(values.get("detector_config", "{}"))
        except ValueError as error:
            raise ConfigError(f"poni={self.path}: poni_version or detector_config cannot be read ({error})") from error
        if not isinstance(config, dict):
            raise ConfigError(f"poni={self.path}: detector_config is no JSON object")
        full = config.get("max_shape")
        pair = isinstance(full, list) and len(full) == 2 and all(type(side) is int and side > 0 for side in full)
        if full is not None and not pair:
            raise ConfigError(f"poni={self.path}: max_shape is {full!r}, two numbers of pixels are expected")
        if version >= 2 and not {"detector", "detector_config"} <= set(values):
            raise ConfigError(f"poni={self.path}: version {version:g} needs Detector and Detector_config")
        spline = values.get("splinefile", "None")
        if spline != "None" and not os.path.isfile(spline):
            raise ConfigError(f"poni={self.path}: its distortion file (SplineFile) {spline} is not there")

    @property
    def wavelength(self) -> float | None:
        """In m; None where the file has none."""
        value = self.values.get("wavelength", "None")
        return None if value == "None" else float(value)

    @property
    def fixed_shape(self) -> bool:
        """Whether its detector may have a shape of its own."""
        config = json.loads(self.values.get("detector_config", "{}"))
        return self.values.get("detector", "Detector") != "Detector" or config.get("max_shape") is not None

    @property
    def alone(self) -> bool:
        """Whether it says everything itself, naming no other file (distortion, detector)."""
        spline = self.values.get("splinefile", "None")
        return spline == "None" and "file" not in self.values.get("detector_config", "").lower()

    def integrator(self) -> Any:
        """A new pyFAI AzimuthalIntegrator of this geometry, with neither mask nor dummy of its own."""
        import pyFAI
        from pyFAI.io.ponifile import PoniFile

        try:
            integrator = pyFAI.load(PoniFile(dict(self.values)))
        except Exception as error:  # whatever pyFAI says of a stranger's file
            raise ConfigError(f"poni={self.path}: {self._reason(error)}") from error
        if not integrator.detector.pixel1 or not integrator.detector.pixel2:
            raise ConfigError(f"poni={self.path}: the size of a pixel is missing (PixelSize1, or Detector_config)")
        return integrator

    def _reason(self, error: Exception) -> str:
        from pyFAI.detectors import ALL_DETECTORS

        detector = self.values.get("detector", "Detector")
        if detector.lower() not in ALL_DETECTORS:
            return f"no detector is called {detector!r}; {nearest(detector.lower(), ALL_DETECTORS)}"[:300]
        return f"pyFAI cannot use it ({error})"


@dataclass(frozen=True)
class Geometry:
    """A PONI for frames of one shape (slow, fast), and everything that depends on these two alone."""

    poni: Poni
    shape: tuple[int, int]
    shape_from: str = "the frames are"
    cache: bool = False  # keep on disk what is made

    @property
    def integrator(self) -> Any:
        """A new AzimuthalIntegrator of pyFAI for this shape; ConfigError where the detector has another one.

        New every time: what pyFAI keeps of one task changes the last digits of the next (q once corners are there).
        """
        integrator = self._integrator()
        # Masking belongs to the mask stage: what pyFAI's detector would add quietly is switched off here.
        integrator.detector.mask = np.zeros(self.shape, np.int8)
        integrator.detector.dummy = None
        return integrator

    def _integrator(self) -> Any:
        integrator = self.poni.integrator()
        detector = integrator.detector
        if not fits(detector, self.shape):
            raise ConfigError(
                f"poni={self.poni.path}: its detector {detector.name} has {detector.max_shape[0]} x "
                f"{detector.max_shape[1]} pixels, {self.shape_from} {self.shape[0]} x {self.shape[1]}"
            )
        if detector.max_shape is None:
            detector.shape = self.shape
        else:
            detector.guess_binning(self.shape)
        return integrator

    def check(self) -> None:
        """Raise ConfigError unless frames of this shape can come from the PONI's detector."""
        seen = self.cache and known(self._key("rings", {}))
        if self.poni.fixed_shape and not seen:
            self.integrator  # noqa: B018 - making it is the check

    @cached_property
    def rings(self) -> Rings:
        """The pixels ordered by ring, see `Rings`."""
        return Rings(**self.kept("rings", {}, self._rings))

    @cached_property
    def arcs(self) -> Arcs:
        """The pixels ordered by arc, see `Arcs`."""
        return Arcs(**self.kept("arcs", {}, self._arcs))

    @cached_property
    def blind(self) -> NDArray[np.bool_] | None:
        """The pixels that pyFAI's detector masks (gaps), (slow, fast); None where it knows of none."""
        if self.poni.values.get("detector", "Detector") == "Detector":
            return None  # pyFAI's word for one without a name
        blind = self.kept("blind", {}, self._blind)["blind"]
        return blind if blind.size else None

    def kept(self, what: str, settings: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
        """The arrays that ``make`` gives for this geometry and these settings: made once, kept in memory and on disk.

        ``settings`` are JSON values; they, the PONI, the shape and the versions are the key.
        """
        key = self._key(what, settings)
        if key not in self._kept:
            on_disk = self.cache and self.poni.alone
            arrays = load(key) if on_disk else None
            if arrays is None:
                arrays = dict(make())
                if on_disk:
                    store(key, arrays)
            while len(self._kept) >= MOST_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = {name: locked(array) for name, array in arrays.items()}
        return self._kept[key]

    @cached_property
    def _kept(self) -> dict[str, Arrays]:
        return {}

    def _key(self, what: str, settings: Mapping[str, Any]) -> str:
        text = json.dumps([LAYOUT, what, settings, dict(self.poni.values), self.shape, versions()], sort_keys=True)
        return f"{what}-{content_hash(text.encode()).partition(':')[2]}"

    def _blind(self) -> Arrays:
        mask = self._integrator().detector.mask
        known = mask is not None and mask.shape == self.shape and mask.any()
        return {"blind": mask != 0 if known else np.empty((0, 0), np.bool_)}

    def _arcs(self) -> Arrays:
        integrator = self.integrator
        two_theta, chi = (
            integrator.center_array(self.shape, unit=unit, scale=False) for unit in ("2th_rad", "chi_rad")
        )
        width = integrator.delta_array(self.shape, unit="2th_rad", scale=False)
        arcs = Arcs.of(fine_rings(two_theta, width), chi)
        return {"order": arcs.order, "starts": arcs.starts, "slots": arcs.slots, "ring": arcs.ring}

    def _rings(self) -> Arrays:
        integrator = self.integrator
        if integrator.wavelength is None:
            # The wavelength scales q and its widths alike: any value gives the same rings.
            some = replace(self.poni, text=f"{self.poni.text}\nWavelength: 1e-10\n")
            integrator = Geometry(some, self.shape).integrator
        rings = Rings.of(ring_numbers(integrator, self.shape))
        return {"order": rings.order, "starts": rings.starts, "slots": rings.slots}


@dataclass(frozen=True)
class Rings:
    """Pixels sorted by ring: those of ring i are ``order[starts[i]:starts[i + 1]]``, ascending.

    ``order`` is uint32, shape (pixels,): flat indices; ``starts`` is int64, shape (rings + 1,); ``slots`` is uint32,
    shape (pixels,): where in ``order`` each pixel stands.
    """

    order: NDArray[np.uint32]
    starts: NDArray[np.int64]
    slots: NDArray[np.uint32]

    @classmethod
    def of(cls, numbers: NDArray[np.integer[Any]]) -> Rings:
        """Sort the pixels by the ring number that each has."""
        counts = np.bincount(numbers.ravel())
        order = np.argsort(numbers, axis=None, kind="stable").astype(np.uint32)
        slots = np.empty_like(order)
        slots[order] = np.arange(order.size, dtype=np.uint32)
        return cls(order, np.concatenate([[0], np.cumsum(counts[counts > 0])]), slots)


@dataclass(frozen=True)
class Arcs(Rings):
    """Pixels sorted by arc: `fine_rings`, cut into arcs of 64 to 127 pixels next to each other.

    So narrow, the flank of a peak is no scatter; so short, neither are polarization, tilt and texture. ``ring`` is
    int32, shape (arcs,): the number of each arc's ring, counted from the beam.
    """

    ring: NDArray[np.int32]

    @classmethod
    def of(cls, numbers: NDArray[np.integer[Any]], chi: NDArray[np.floating[Any]] | None = None) -> Arcs:
        """Sort the pixels by ring number and, in the ring, by ``chi``; a ring of n pixels has ``max(1, n // 64)`` arcs
        of as many pixels, give or take one."""
        assert chi is not None
        key = numbers + (chi - chi.min()) / (np.ptp(chi) + 1)  # one key: half the time of np.lexsort
        order = np.argsort(key, axis=None, kind="stable").astype(np.uint32)
        slots = np.empty_like(order)
        slots[order] = np.arange(order.size, dtype=np.uint32)
        counts = np.bincount(numbers.ravel())
        pieces = np.where(counts > 0, np.maximum(1, counts // ARC), 0)
        ring = np.repeat(np.arange(counts.size), pieces)
        nth = np.arange(ring.size) - np.repeat(np.cumsum(pieces) - pieces, pieces) + 1
        ends = (np.cumsum(counts) - counts)[ring] + nth * counts[ring] // pieces[ring]
        return cls(order, np.concatenate([[0], ends]), slots, ring.astype(np.int32))


def fine_rings(two_theta: NDArray[np.floating[Any]], width: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """In which ring, counted from the beam, each pixel is; rings are a third of a pixel wide.

    ``two_theta`` and ``width`` (pyFAI's delta: from the centre of a pixel to its furthest corner) are in rad, (slow,
    fast). A ring at some angle is half as wide as the mean of the pixels there says; the widths add up from 0.
    """
    edges = np.linspace(0, two_theta.max(), int(np.hypot(*two_theta.shape)) + 1)
    many, step = edges.size - 1, edges[1]
    at = np.minimum((two_theta / step).astype(np.int64), many - 1).ravel()
    counts = np.bincount(at, minlength=many)
    sums = np.bincount(at, weights=width.ravel(), minlength=many)
    filled = np.flatnonzero(counts)
    mean = np.interp(np.arange(many), filled, sums[filled] / counts[filled])
    distance = np.concatenate([[0], np.cumsum(2 * step / mean)])
    found: NDArray[np.int64] = np.interp(two_theta, edges, distance).astype(np.int64)
    return found


def fits(detector: Any, shape: tuple[int, int]) -> bool:
    """Whether frames of ``shape`` can come from this pyFAI detector, perhaps binned."""
    full = detector.max_shape
    if full is None or tuple(full) == shape or (detector.shape is not None and tuple(detector.shape) == shape):
        return True
    return bool(detector.force_pixel and min(shape) > 0 and full[0] % shape[0] == full[1] % shape[1] == 0)


def ring_numbers(integrator: Any, shape: tuple[int, int]) -> NDArray[np.int64]:
    """The ring of every pixel, shape (slow, fast): PDFstream's ``generate_binner``, about a pixel wide.

    Radial edges are half a pixel diagonal apart; the largest ``dq`` in each gives the width of the ring in q.
    """
    r = integrator.rArray(shape)
    q = integrator.qArray(shape) / 10  # 1/nm -> 1/angstrom
    dq = integrator.deltaQ(shape) / 10
    step = np.hypot(integrator.pixel1, integrator.pixel2) / 2
    radial = np.arange(r.min() - step, r.max() + step, step)
    width = np.zeros(len(radial) - 1, dq.dtype)
    annulus = np.digitize(r, radial).ravel() - 1
    inside = (annulus >= 0) & (annulus < len(width))
    np.maximum.at(width, annulus[inside], dq.ravel()[inside])
    edges = np.cumsum(width)
    edges[0] = dq.min()
    edges[-1] = max(edges[-1], q.max())
    numbers: NDArray[np.int64] = np.digitize(q, edges)
    numbers[q == edges[-1]] = len(edges) - 1
    return numbers


@lru_cache(maxsize=2)
def geometry(poni: Poni, shape: tuple[int, int], shape_from: str = "the frames are", cache: bool = False) -> Geometry:
    """The geometry of this PONI and shape, one a process."""
    return Geometry(poni, shape, shape_from, cache)
