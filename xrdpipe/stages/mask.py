"""Mask: bad pixels by PDFstream's definition or by others; see docs/masks.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.geometry import Geometry
from ..geometry.poni import Poni
from ..model.arrays import Image, read_only
from ..model.errors import ConfigError, FrameError, choice, require
from ..model.frame import Frame
from .scalar_lookup import ScalarLookup, file_lookups, refuse_lookups, table_files
from .stage import NOTHING, Makes, Needs, Setup, Stage, Step

AUTO_TYPES = ("median", "mean", "mad", "sigma_clip")
BEAMSTOP = 400  # largest shadow of a beamstop, in rings of `Geometry.arcs`: about 130 pixels
SAMPLE = 1 << 16  # pixels that `ThresholdWarning` examines
Outliers = Callable[[Image, Image, NDArray[np.uint8]], None]


@dataclass(frozen=True)
class Mask(Stage):
    """Mask pixels by position, by value, and by comparison with their ring.

    The stage masks in five steps: first by position (``file``, ``detector``, ``edge``), then by value
    (``lower_thresh``, ``upper_thresh``, not finite), then outliers among the pixels still good (``auto_type``,
    ``alpha``), then ``regions`` that receive too little, and last the neighbourhood (``grow``) of what the second to
    fourth step masked. None switches a step off.

    Attributes
    ----------
    edge
        Number of outer rows and columns that are masked.
    lower_thresh, upper_thresh
        Counts below and above which a pixel is masked.
    alpha
        Standard deviations of its ring from which on a pixel is an outlier.
    auto_type
        How outliers are found in each ring. ``median``: by their distance from the median. ``mean``: by their distance
        from the mean, one by one. ``sigma_clip``: by their distance from the mean, all at once, ``max_iter`` times.
        ``mad``: by the median absolute deviation, see `outliers.mask_mad`.
    file
        One or several masks of the user, in the orientation of the raw frames; 1 = masked. ``table.csv:column`` names
        the mask of each frame.
    invert
        In ``file``, 0 = masked.
    detector
        Mask the pixels that the detector or the file marks as unusable.
    grow
        Number of pixels by which the mask grows around thresholds and outliers.
    max_iter
        Rounds of ``sigma_clip``.
    regions
        Mask shadows, translucent arms, gaps and dead lines, see `regions.find`.
    """

    edge: int | None = field(default=30, metadata={"low": 0})
    lower_thresh: float | None = 0.0
    upper_thresh: float | None = None
    alpha: float | None = field(default=2.0, metadata={"low": 0})
    auto_type: str = field(default="median", metadata={"choices": AUTO_TYPES})
    file: Any = None
    invert: bool = False
    detector: bool = True
    grow: int = field(default=0, metadata={"low": 0, "high": 100})
    max_iter: int = field(default=5, metadata={"low": 1})
    regions: bool = False

    def __post_init__(self) -> None:
        require(self.edge is None or self.edge >= 0, "edge", self.edge, "a number of pixels >= 0 expected")
        require(
            self.alpha is None or self.alpha > 0, "alpha", self.alpha, "a number > 0 expected, or null for no outliers"
        )
        for key in ("lower_thresh", "upper_thresh", "alpha"):
            value = getattr(self, key)
            require(value is None or bool(np.isfinite(value)), key, value, "a finite number or null expected")
        low, high = self.lower_thresh, self.upper_thresh
        require(
            low is None or high is None or low <= high, "upper_thresh", high, f"lower_thresh={low} or more expected"
        )
        choice("auto_type", self.auto_type, AUTO_TYPES)
        listed = isinstance(self.file, list) and all(isinstance(each, str) for each in self.file)
        require(self.file is None or isinstance(self.file, str) or listed, "file", self.file, "paths expected, or null")
        require(not self.invert or bool(self.files), "invert", True, "there is no mask.file to invert")
        require(0 <= self.grow <= 100, "grow", self.grow, "a number of pixels from 0 to 100 expected")
        require(self.max_iter >= 1, "max_iter", self.max_iter, "a number >= 1 expected")

    @property
    def files(self) -> list[str]:
        """Paths of the user's masks."""
        return [self.file] if isinstance(self.file, str) else self.file or []

    @property
    def needs(self) -> Needs:
        """The user's masks, or the tables that name them, and the variance for ``auto_type=mad``."""
        named = {f"mask_{number}" if number > 1 else "mask": path for number, path in enumerate(self.files, 1)}
        tables = self._tables
        files = {name: path for name, path in named.items() if path not in tables}
        files |= table_files({name: tables[path] for name, path in named.items() if path in tables})
        variance = self.auto_type == "mad" and self.alpha is not None
        return Needs(files, variance, ("file",) if tables else ())

    @property
    def _tables(self) -> dict[str, ScalarLookup]:
        return file_lookups("mask.file", self.files)

    def check(self, poni: Poni, line: Makes = NOTHING) -> None:
        """Raise ConfigError if a table of masks cannot be used."""
        for table in self._tables.values():
            table.check()

    def prepare(self, setup: Setup) -> Step:
        """Make the static mask and return the step that adds the mask of each frame."""
        from ..numerics.constants import DETECTOR
        from ..numerics.outliers import grow

        refuse_lookups(self._tables)
        static, file_notes = self._static_mask(setup)
        mask_by_value = self._mask_by_value(setup)
        mask_regions = _region_mask(setup.geometry) if self.regions else None
        by_ring = self.alpha is not None and self.auto_type in ("median", "mean")
        in_rings = by_ring and not self.regions and not self.grow  # the values in ring order know the whole mask
        warning = None if self.lower_thresh is None else ThresholdWarning(setup.geometry, self.lower_thresh)

        def mask(frame: Frame) -> Frame:
            out = static.copy()
            if self.detector and frame.info.bad is not None:
                out |= np.multiply(frame.info.bad, DETECTOR)
            if frame.mask is not None:  # from an earlier stage
                out |= frame.mask
            image = read_only(frame.image.ravel())
            variance = image if frame.variance is None else read_only(frame.variance.ravel())
            mask_by_value(image, variance, out.ravel())
            if mask_regions is not None:
                mask_regions(frame, out)
            if self.grow:
                grow(out, self.grow)
            share = np.count_nonzero(out) / out.size
            if share == 1:
                raise FrameError("the mask covers every pixel")
            notes = file_notes
            if share > 0.5:
                notes += (f"{100 * share:.0f} % of the pixels are masked",)
            if warning is not None:
                notes += warning.notes(out.ravel())
            if in_rings:
                keeper = setup.geometry.ring_values if setup.device is None else setup.device
                frame = keeper.keep(frame, out)
            else:
                frame = replace(frame, mask=out)
            return frame.with_info(notes=frame.info.notes + notes)

        return mask

    def _mask_by_value(self, setup: Setup) -> Outliers:
        """Return a function that masks by threshold and outliers: flat image, variance and mask, changed in place."""
        from ..numerics import kernels

        limits = (
            -np.inf if self.lower_thresh is None else self.lower_thresh,
            np.inf if self.upper_thresh is None else self.upper_thresh,
        )
        alpha, geometry = self.alpha, setup.geometry
        if alpha is None:
            return lambda image, variance, flat: kernels.threshold(image, flat, *limits)
        if setup.device is not None:
            if self.auto_type != "median":
                raise ConfigError(
                    f"mask.auto_type={self.auto_type}: parallel=cuda knows median alone; leave out one of them"
                )
            return setup.device.outliers(geometry.rings.order, geometry.rings.starts, limits, alpha)
        if self.auto_type == "mad":
            return self._mad(geometry, alpha, limits)
        rings, ring_values = geometry.rings, geometry.ring_values
        one_pass = {"median": kernels.mask_median, "mean": kernels.mask_mean}.get(self.auto_type)

        def find(image: Image, variance: Image, flat: NDArray[np.uint8]) -> None:
            values = ring_values.scatter(image, flat, *limits)
            if one_pass is not None:
                one_pass(values, rings.order, rings.starts, alpha, flat)
            else:
                kernels.mask_sigma_clip(values, rings.order, rings.starts, alpha, self.max_iter, flat)

        return find

    def _mad(self, geometry: Geometry, alpha: float, limits: tuple[float, float]) -> Outliers:
        from ..numerics import outliers
        from ..numerics.constants import OUTLIER

        arcs = geometry.arcs
        where = arcs.order, arcs.starts, arcs.arc_of, arcs.offset
        lower, upper = limits
        inner = int(np.searchsorted(arcs.ring, 2 * BEAMSTOP + 4))
        ring = read_only(arcs.ring[:inner])

        def find(image: Image, variance: Image, flat: NDArray[np.uint8]) -> None:
            if variance is image:
                variance = read_only(np.maximum(image, np.float32(1)))
            level = np.empty(inner, np.float32)
            outliers.mask_mad(image, variance, flat, lower, upper, *where, alpha, level)
            dark = np.searchsorted(ring, outliers.find_shadow(level, ring, alpha))
            pixels = arcs.order[: arcs.starts[dark]]
            flat[pixels] |= np.where(flat[pixels] == 0, OUTLIER, np.uint8(0))

        return find

    def _static_mask(self, setup: Setup) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        """Return the mask that all frames share (the user's masks, the detector's and the edge), and notes on files."""
        from ..numerics.constants import DETECTOR, EDGE, USER

        static = np.zeros(setup.geometry.shape, np.uint8)
        if self.edge:
            static[:] = EDGE
            static[self.edge : -self.edge, self.edge : -self.edge] = 0
        if self.detector and (blind := setup.geometry.blind) is not None:
            static[blind] |= DETECTOR
        notes = list[str]()
        for path in self.files:
            user, value = self.read_user_mask(setup, path)
            static[user] |= USER
            if value != 1:
                read_as = f"{value:g} as good, 0 as masked" if self.invert else f"{value:g} as masked, 0 as good"
                notes.append(f"mask.file={path}: {read_as}")
        if static.all():
            file = "" if self.file is None else f" and mask.file={self.file}"
            raise ConfigError(f"mask.edge={self.edge}{file}: every pixel is masked; leave some, as with mask.edge=0")
        return static, tuple(notes)

    def read_user_mask(self, setup: Setup, path: str) -> tuple[NDArray[np.bool_], float]:
        """Return the pixels that one of ``files`` masks, (slow, fast), and the value that marks a pixel.

        The pixels are in the orientation of the frames. The value is 1, or what there is besides 0.

        Raises
        ------
        ConfigError
            The file has another shape, or more values than 0 and one other.
        """
        user, shape = setup.read(path), setup.geometry.shape
        if user.shape != shape:
            raise ConfigError(
                f"mask.file={path}: {user.shape[0]} x {user.shape[1]} pixels, {setup.geometry.shape_from} "
                f"{shape[0]} x {shape[1]}; a mask of the raw frames expected, as xrdpipe mask and xrdpipe look save it"
            )
        marked = user != 0
        value = user[marked][0] if marked.any() else np.float32(1)
        if not (user[marked] == value).all():
            raise ConfigError(f"mask.file={path}: more values than 0 (good) and one other (masked), 1 or 255")
        return marked ^ self.invert, float(value)


def _region_mask(geometry: Geometry) -> Callable[[Frame, NDArray[np.uint8]], None]:
    """Return what masks the regions of a frame in place.

    If a background was subtracted, the raw counts decide: the difference is about 0 where the sample scatters little,
    and a shadow does not show there.
    """
    from ..numerics.constants import GOOD, OUTLIER
    from ..numerics.regions.find import RegionFinder

    cells = geometry.cells
    find_regions = RegionFinder(cells.cell, cells.rings, geometry.shape)

    def mask_regions(frame: Frame, mask: NDArray[np.uint8]) -> None:
        raw = frame.info.raw if "background_scale" in frame.info.factors else None
        image = frame.image if raw is None else raw
        flat = mask.ravel()
        pixels = np.flatnonzero(find_regions(read_only(image.ravel()), flat))
        flat[pixels[flat[pixels] == GOOD]] = OUTLIER

    return mask_regions


class ThresholdWarning:
    """Warn when the lower threshold masks so many pixels of a ring that its mean is biased high.

    A ring is biased if more than a quarter of its pixels are below the threshold; pixels that user, detector or edge
    mask do not count. In a ring whose true intensity is 0, half of the pixels are below 0. The frame gets a note if
    biased rings hold more than a tenth of its pixels. Every k-th pixel is examined, so that the test is cheap.

    Parameters
    ----------
    geometry
        Geometry with the rings.
    threshold
        The lower threshold, counts.
    """

    def __init__(self, geometry: Geometry, threshold: float) -> None:
        rings = geometry.rings
        every = slice(None, None, -(-rings.order.size // SAMPLE))
        self.pixels = rings.order[every]
        self.first = self.pixels[::8].astype(np.intp)  # a first look
        self.ring = np.searchsorted(rings.starts, np.arange(0, rings.order.size, every.step), side="right") - 1
        self.note = (
            f"mask.lower_thresh={threshold:g} takes more than a quarter of many rings, and the rest reads too high: "
            f"say mask.lower_thresh=null, or mask=robust"
        )

    def notes(self, mask: NDArray[np.uint8]) -> tuple[str, ...]:
        """Return the note for a frame with this mask (flat, bits of `kernels`), or an empty tuple."""
        from ..numerics.constants import DETECTOR, EDGE, LOWER, USER

        first_look = mask.take(self.first) & LOWER
        if np.count_nonzero(first_look) < 0.02 * first_look.size:  # less than a quarter of a tenth
            return ()
        bits = mask[self.pixels]
        below = (bits & LOWER) != 0
        counts = (bits & (USER | DETECTOR | EDGE)) == 0
        rings = self.ring[-1] + 1
        total = np.bincount(self.ring[counts], minlength=rings)
        n_below = np.bincount(self.ring[below & counts], minlength=rings)
        return (self.note,) if total[4 * n_below > total].sum() > 0.1 * total.sum() else ()


@dataclass(frozen=True)
class SeriesMask(Mask):
    """`Mask`, with a static mask of all frames on top.

    The run makes the static mask before the first frame and puts it into ``file``, see `execution.static_mask`.
    """
