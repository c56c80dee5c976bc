"""Calibrated geometry of frames of one shape, with cached arrays that depend on it alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..model.arrays import read_only
from ..model.errors import ConfigError
from ..model.identity import content_hash, versions
from .cache import Arrays, is_cached, load, store
from .poni import Poni, fits
from .ring_values import RingValues
from .rings import Arcs, Cells, Rings, fine_rings, ring_numbers

LAYOUT = 6  # version of the arrays on disk; raise it whenever their meaning changes
MAX_CACHED = 4  # sets of arrays in memory, some 50 MB each; a sweep over npt makes many
MAX_SHARED = 2  # of each kind of what several settings share
Value = TypeVar("Value")


@dataclass(frozen=True)
class Geometry:
    """A calibration for frames of one shape, with arrays that depend on these two alone.

    Attributes
    ----------
    poni
        Calibration.
    shape
        Shape of the frames, (slow, fast).
    shape_from
        Source of the shape, in words, for error messages.
    cache
        Store the arrays on disk.
    interactive
        Settings change all the time: keep also what several of them share, some 500 MB for 4 million pixels, and store
        on disk in the background.
    """

    poni: Poni
    shape: tuple[int, int]
    shape_from: str = "the frames are"
    cache: bool = False
    interactive: bool = False

    @property
    def integrator(self) -> Any:
        """New AzimuthalIntegrator of pyFAI for this shape; ConfigError if the detector has another shape.

        It is new at every access, because what pyFAI caches for one task changes the last digits of the next.
        """
        integrator = self._integrator()
        # Masking belongs to the mask stage, so the mask that pyFAI's detector would add is switched off.
        integrator.detector.mask = np.zeros(self.shape, np.int8)
        integrator.detector.dummy = None
        return integrator

    def _integrator(self) -> Any:
        integrator = self.poni.integrator()
        detector = integrator.detector
        if not fits(detector, self.shape):
            raise ConfigError(
                f"poni={self.poni.path}: its detector {detector.name} has {detector.max_shape[0]} x "
                f"{detector.max_shape[1]} pixels, {self.shape_from} {self.shape[0]} x {self.shape[1]}; "
                "say source.transform=[rot90] if frames are turned, or take the PONI of this detector"
            )
        if detector.max_shape is None:
            detector.shape = self.shape
        else:
            detector.guess_binning(self.shape)
        return integrator

    def check(self) -> None:
        """Raise ConfigError unless the detector of the calibration can have frames of this shape."""
        cached = self.cache and self.has_on_disk("rings")
        if self.poni.fixed_shape and not cached:
            self.integrator  # noqa: B018 - its construction is the check

    def has_on_disk(self, what: str) -> bool:
        """Return whether the cache on disk has a set of arrays that depends on no settings."""
        return is_cached(self._key(what, {}))

    @cached_property
    def rings(self) -> Rings:
        """Pixels sorted by ring, see `Rings`."""
        return Rings(**self.cached("rings", {}, self._rings))

    @cached_property
    def ring_values(self) -> RingValues:
        """Pixels of a frame sorted by ring, see `RingValues`."""
        return RingValues(self.rings)

    @cached_property
    def arcs(self) -> Arcs:
        """Pixels sorted by arc, see `Arcs`."""
        return Arcs(**self.cached("arcs", {}, self._arcs))

    @cached_property
    def cells(self) -> Cells:
        """The cell of every pixel, see `Cells`."""
        kept = self.cached("cells", {}, self._cells)
        return Cells(kept["cell"], int(kept["rings"][0]))

    @cached_property
    def blind(self) -> NDArray[np.bool_] | None:
        """Pixels that pyFAI's detector masks (gaps), bool, (slow, fast); None if it has none."""
        if self.poni.values.get("detector", "Detector") == "Detector":
            return None  # pyFAI's name for an unnamed detector
        blind = self.cached("blind", {}, self._blind)["blind"]
        return blind if blind.size else None

    def cached(self, what: str, settings: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
        """Return the arrays that ``make`` computes, from the cache if possible.

        Arrays are computed once, and cached in memory and on disk. The key consists of ``what``, ``settings``, the
        calibration, the shape and the software versions.

        Parameters
        ----------
        what
            Name of the set of arrays.
        settings
            JSON values that the arrays depend on.
        make
            Function that computes the arrays, name -> array.

        Returns
        -------
        Mapping
            Name -> array, read-only.
        """
        key = self._key(what, settings)
        kept = self._memory.get(key)
        if kept is None:
            on_disk = self.cache and self.poni.self_contained
            arrays = load(key) if on_disk else None
            if arrays is None:
                arrays = dict(make())
                if on_disk and self.interactive:
                    threading.Thread(target=store, args=(key, arrays)).start()
                elif on_disk:
                    store(key, arrays)
            kept = {name: read_only(array) for name, array in arrays.items()}
            _keep(self._memory, key, kept, MAX_CACHED)
        return kept

    def shared(self, what: str, settings: Mapping[str, Any], make: Callable[[], Value]) -> Value:
        """Return what several sets of arrays have in common.

        Parameters
        ----------
        what, settings
            As in `cached`.
        make
            Function that makes it. It is called every time unless the geometry is `interactive`, which keeps the last
            two of each kind in memory.
        """
        if not self.interactive:
            return make()
        of_kind = self._shared.setdefault(what, {})
        key = json.dumps(settings, sort_keys=True)
        value: Value = of_kind[key] if key in of_kind else make()
        _keep(of_kind, key, value, MAX_SHARED)
        return value

    @cached_property
    def _shared(self) -> dict[str, dict[str, Any]]:
        return {}

    @cached_property
    def _memory(self) -> dict[str, Arrays]:
        return {}

    def _key(self, what: str, settings: Mapping[str, Any]) -> str:
        text = json.dumps([LAYOUT, what, settings, dict(self.poni.values), self.shape, versions()], sort_keys=True)
        return f"{what}-{content_hash(text.encode()).partition(':')[2]}"

    def _blind(self) -> Arrays:
        mask = self._integrator().detector.mask
        has_gaps = mask is not None and mask.shape == self.shape and mask.any()
        return {"blind": mask != 0 if has_gaps else np.empty((0, 0), np.bool_)}

    def _arcs(self) -> Arrays:
        rings, chi = self._fine_rings()
        arcs = Arcs.of(rings, chi)
        return vars(arcs)

    def _cells(self) -> Arrays:
        from ..numerics.regions.levels import SECTORS

        rings, chi = self._fine_rings()
        cells = Cells.of(rings.astype(np.int64) // 3, chi, SECTORS)
        return {"cell": cells.cell, "rings": np.array([cells.rings])}

    def _fine_rings(self) -> tuple[NDArray[np.float64], NDArray[np.floating[Any]]]:
        """Return the ring of every pixel, see `fine_rings`, and its azimuth (rad)."""
        integrator = self.integrator
        two_theta, chi = (
            integrator.center_array(self.shape, unit=unit, scale=False) for unit in ("2th_rad", "chi_rad")
        )
        width = integrator.delta_array(self.shape, unit="2th_rad", scale=False)
        return fine_rings(two_theta, width), chi

    def _rings(self) -> Arrays:
        integrator = self.integrator
        if integrator.wavelength is None:
            # The wavelength scales q and its widths alike, so any value gives the same rings.
            with_wavelength = replace(self.poni, text=f"{self.poni.text}\nWavelength: 1e-10\n")
            integrator = Geometry(with_wavelength, self.shape).integrator
        rings = Rings.of(ring_numbers(integrator, self.shape))
        return {"order": rings.order, "starts": rings.starts, "slots": rings.slots}


def _keep(values: dict[str, Value], key: str, value: Value, most: int) -> None:
    """Put a value at the end of ``values``, and drop the first ones beyond ``most``; other threads may do the same."""
    values.pop(key, None)
    values[key] = value
    for old in list(values)[:-most]:
        values.pop(old, None)


@lru_cache(maxsize=2)
def shared_geometry(
    poni: Poni, shape: tuple[int, int], shape_from: str = "the frames are", cache: bool = False
) -> Geometry:
    """Return the geometry of this calibration and shape, shared within the process."""
    return Geometry(poni, shape, shape_from, cache)
