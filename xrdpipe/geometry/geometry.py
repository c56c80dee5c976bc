"""The calibrated geometry, and what depends on it and the frame's shape alone: made once a process and kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.arrays import read_only
from ..model.errors import ConfigError
from ..model.identity import content_hash, versions
from .cache import Arrays, known, load, store
from .poni import Poni, fits
from .rings import Arcs, Rings, fine_rings, ring_numbers

LAYOUT = 3  # of the arrays that are kept on disk: raise it whenever their meaning changes


MOST_KEPT = 4  # sets of arrays in memory, some 50 MB each: a sweep over npt makes many


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
            self._kept[key] = {name: read_only(array) for name, array in arrays.items()}
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


@lru_cache(maxsize=2)
def shared_geometry(
    poni: Poni, shape: tuple[int, int], shape_from: str = "the frames are", cache: bool = False
) -> Geometry:
    """The geometry of this PONI and shape, one a process."""
    return Geometry(poni, shape, shape_from, cache)
