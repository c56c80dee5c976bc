"""Output: files with the patterns and masks of the frames, and the static mask of a series."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..io.formats import Format, Shared, find_format, format_names
from ..io.writing import encoded, write_bytes, write_whole
from ..model.cake import Cake
from ..model.errors import ConfigError, choice, require
from ..model.frame import Frame
from ..model.pattern import Pattern
from ..model.series import Series
from .collector import AtEnd, Collector
from .stage import NOTHING, Makes, Setup, Stage, Step

if TYPE_CHECKING:
    from ..geometry.poni import Poni
    from ..model.record import Record


NEXUS = "nxs"
STATIC = "static_mask.npy"  # in the folder above masks/, where no file of a frame has this suffix


@dataclass(frozen=True)
class Output(Stage):
    """Write the patterns, masks and cakes of each frame.

    The pattern of a sector is ``<name>_<sector>.chi`` and so on, a cake is ``<name>_cake.npz`` (see `cake_arrays`).

    Attributes
    ----------
    format
        One or several formats of the patterns: those of `formats.FORMATS`, and ``nxs`` for a NeXus file that frames
        share.
    mask
        True writes the mask as ``masks/<name>.npy``: uint8, 1 = masked, in the orientation of the raw frame.
        "reasons" also writes ``masks/<name>_reasons.npy``: the bits of `kernels` that masked each pixel.
    static_mask
        Share of frames, from 0 to below 1. When the run ends, ``static_mask.npy`` marks the pixels that are masked in
        more than this share of the frames in the folder. None writes no such file.
    """

    format: Any = "chi"
    mask: Any = False
    static_mask: float | None = None

    def __post_init__(self) -> None:
        names = self.formats
        require(
            bool(names), "format", self.format, f"a format or a list expected: {', '.join([*format_names(), NEXUS])}"
        )
        for name in names:
            if name != NEXUS and (not isinstance(name, str) or find_format(name) is None):
                choice("format", name, [*format_names(), NEXUS])
            require(names.count(name) == 1, "format", self.format, f"{name} stands there twice")
        require(self.mask in (False, True, "reasons"), "mask", self.mask, "true, false or reasons expected")
        share = self.static_mask
        require(share is None or 0 <= share < 1, "static_mask", share, "a number from 0 to below 1, or null")
        if share is not None and not self.mask:
            raise ConfigError(f"static_mask={share}: made of the frames' masks; say output.mask=true as well")

    @property
    def formats(self) -> list[Any]:
        """Names of the formats, in the order of the configuration."""
        return list(self.format) if isinstance(self.format, (list, tuple)) else [self.format]

    @property
    def _text_formats(self) -> list[Format]:
        formats = (find_format(name) for name in self.formats if name != NEXUS)
        return [form for form in formats if form is not None]

    def check(self, poni: Poni, line: Makes = NOTHING) -> None:
        """Raise ConfigError for a format that needs a sigma or a unit that the patterns do not have."""
        columns = line.columns
        if not columns:  # the columns of the patterns are not known yet
            return
        for name in self.formats:
            if name == NEXUS and poni.lookups:
                raise ConfigError("output.format=nxs: has one geometry for all frames; say output.format=chi")
            form = None if name == NEXUS else find_format(name)
            if form and form.sigma and "sigma" not in columns:
                ways = "say integ.error_model=poisson, or output.format=xy for two columns"
                raise ConfigError(f"output.format={name}: has a column for sigma, and there is none; {ways}")
            for unit in (columns[0], *line.parts.get("units", ())):
                if form and form.units and unit not in form.units:
                    ways = "say integ.unit=2th_deg, or output.format=xye"
                    raise ConfigError(f"output.format={name}: is for 2theta, not for {unit}; {ways}")

    def writes(self, name: str, line: Makes = NOTHING) -> list[str]:
        """Return the files of the pattern, the mask, the sectors or further units, and the cake."""
        suffixes = [form.suffix for form in self._text_formats]
        files = [f"{name}{suffix}" for suffix in suffixes]
        files += [f"masks/{name}.npy"] if self.mask else []
        files += [reasons_file(name)] if self.mask == "reasons" else []
        endings = {"sectors": suffixes, "units": suffixes, "cake": [".npz"]}
        return files + [
            f"{name}_{part}{ending}" for what, parts in line.parts.items() for part in parts for ending in endings[what]
        ]

    def collect(self, series: Series) -> Sequence[Collector]:
        """Return the collectors of the NeXus files, of the pattern that frames share, and of the static mask."""
        collectors: list[Collector] = []
        if NEXUS in self.formats:
            from .output_nexus import NexusFiles

            collectors.append(NexusFiles(series))
        if series.merged and self._text_formats:
            from .integ.multi import MergedPattern

            collectors.append(MergedPattern(series, self._text_formats))
        if self.static_mask is not None:
            collectors.append(AtEnd([STATIC], lambda records: self._write_static_mask(series.folder, records)))
        return collectors

    def _write_static_mask(self, folder: Path, records: Sequence[Record]) -> list[str]:
        names = [record.name for record in records if record.status == "done"]
        masks = [path for name in names if (path := folder / "masks" / f"{name}.npy").is_file()]
        if self.static_mask is None or not masks:
            return []
        counts = np.load(masks[0], allow_pickle=False).astype(np.uint32)
        for path in masks[1:]:  # one at a time: a series may be larger than memory
            counts += np.load(path, allow_pickle=False)
        static = (counts > self.static_mask * len(masks)).astype(np.uint8)
        write_whole(folder / STATIC, lambda file: np.save(file, static))
        return []

    def prepare(self, setup: Setup) -> Step:
        """Return the step that writes the files of one frame."""
        from ..numerics.constants import NOT_FINITE

        folder = setup.folder
        forms = self._text_formats
        shared = {key: Shared(value) if isinstance(value, dict) else value for key, value in setup.provenance.items()}

        def header(frame: Frame, result: Pattern | Cake) -> dict[str, Any]:
            source = {"method": result.method, "image": f"{frame.info.file} {frame.info.digest}"}
            return {**shared, **frame.info.factors, **source}

        def texts(frame: Frame) -> dict[str, bytes]:
            found: dict[str, str] = {}
            for suffix, pattern in frame.results.sectors.items():
                limits = pattern.azimuth_range
                values = header(frame, pattern) | ({} if limits is None else {"azimuth_range": limits})
                found |= {f"{frame.name}_{suffix}{form.suffix}": form.text(pattern, values) for form in forms}
            if frame.pattern is not None:
                values = header(frame, frame.pattern)
                found |= {f"{frame.name}{form.suffix}": form.text(frame.pattern, values) for form in forms}
            return {name: encoded(text) for name, text in found.items()}

        def masks(frame: Frame) -> dict[str, bytes]:
            found: dict[str, bytes] = {}
            if self.mask:
                found[f"masks/{frame.name}.npy"] = _npy(setup.to_raw(frame.masked))
            if self.mask == "reasons":
                bits = frame.masked * NOT_FINITE if frame.mask is None else frame.mask
                found[reasons_file(frame.name)] = _npy(setup.to_raw(bits))
            return found

        def write(frame: Frame) -> Frame:
            if folder is None:
                return frame
            # A format may refuse a pattern; texts come first, so that nothing of such a frame is written.
            patterns = texts(frame)
            outputs = {name: write_bytes(folder, name, content) for name, content in masks(frame).items()}
            if frame.results.cake is not None:
                arrays: dict[str, Any] = cake_arrays(frame.results.cake, header(frame, frame.results.cake))
                # Without allow_pickle, which numpy 2.0 would write as one more array.
                write_whole(folder / f"{frame.name}_cake.npz", lambda file: np.savez(file, **arrays))
            # The pattern comes last: if it is there, all other files of the frame are.
            outputs |= {name: write_bytes(folder, name, content) for name, content in patterns.items()}
            return frame.with_info(outputs={**frame.info.outputs, **outputs})

        return write


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array, dtype=np.uint8))
    return buffer.getvalue()


def reasons_file(name: str) -> str:
    """Return the path of the mask reasons of a frame, relative to the folder of the run."""
    return f"masks/{name}_reasons.npy"


def cake_arrays(cake: Cake, provenance: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the arrays of a cake as they are written.

    Parameters
    ----------
    cake
        The cake.
    provenance
        What the file records about its making: JSON values by name.

    Returns
    -------
    dict
        ``radial`` (radial,), ``azimuthal`` (azimuthal,), ``intensity`` and ``sigma`` (azimuthal, radial), and
        ``about``, a JSON text with the provenance, the unit and the label. Without errors there is no ``sigma``.
    """
    about = {**provenance, "unit": cake.unit, "label": cake.label}
    arrays = {name: getattr(cake, name) for name in ("radial", "azimuthal", "intensity", "sigma")}
    return {name: each for name, each in arrays.items() if each is not None} | {"about": np.array(json.dumps(about))}
