"""Output: the pattern and the mask of a frame as files, and the static mask of a series."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .folder import Record
from .frame import Frame, Pattern
from .provenance import write_text, write_whole
from .stage import ConfigError, Setup, Stage, Step, choice, require

FORMATS = ("chi",)
STATIC = "static_mask.npy"  # above masks/, where no frame's file has that suffix


@dataclass(frozen=True)
class Output(Stage):
    """Write ``<name>.chi``; with ``mask`` the mask as ``masks/<name>.npy`` (uint8, 1 = masked, raw orientation), and
    with ``mask=reasons`` also ``masks/<name>_reasons.npy``, which bits of `kernels` masked each pixel.

    ``static_mask``: at the end of a run ``static_mask.npy``, the pixels masked in more than that share of the frames
    in the folder.
    """

    format: str = "chi"
    mask: Any = False
    static_mask: float | None = None

    def __post_init__(self) -> None:
        choice("format", self.format, FORMATS)
        require(self.mask in (False, True, "reasons"), "mask", self.mask, "true, false or reasons expected")
        share = self.static_mask
        require(share is None or 0 <= share < 1, "static_mask", share, "a number from 0 to below 1, or null")
        if share is not None and not self.mask:
            raise ConfigError(f"static_mask={share}: made of the frames' masks; say output.mask=true as well")

    def outputs(self, name: str) -> list[str]:
        masks = [f"masks/{name}.npy"] if self.mask else []
        return [f"{name}.chi", *masks, *([reasons_file(name)] if self.mask == "reasons" else [])]

    def finish(self, folder: Path, records: Sequence[Record]) -> list[str]:
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

    def finishes(self) -> list[str]:
        return [] if self.static_mask is None else [STATIC]

    def prepare(self, setup: Setup) -> Step:
        from .kernels import NOT_FINITE

        folder = setup.folder

        def write(frame: Frame) -> Frame:
            if folder is None:
                return frame
            # The pattern comes last: where it stands, everything else of the frame does.
            if self.mask:
                raw = np.ascontiguousarray(setup.to_raw(frame.masked), dtype=np.uint8)
                write_whole(folder / "masks" / f"{frame.name}.npy", lambda file: np.save(file, raw))
            if self.mask == "reasons":
                bits = frame.masked * NOT_FINITE if frame.mask is None else frame.mask
                why = np.ascontiguousarray(setup.to_raw(bits), dtype=np.uint8)
                write_whole(folder / reasons_file(frame.name), lambda file: np.save(file, why))
            if frame.pattern is not None:
                made = {"method": frame.pattern.method, "image": f"{frame.file} {frame.digest}"}
                header = {**setup.provenance, **frame.factors, **made}
                write_text(folder / f"{frame.name}.chi", chi_text(frame.pattern, header))
            return frame

        return write


def reasons_file(name: str) -> str:
    """Where the reasons of the frame ``name`` are, relative to the run's folder."""
    return f"masks/{name}_reasons.npy"


def chi_text(pattern: Pattern, provenance: Mapping[str, Any]) -> str:
    """A pattern as text: ``#`` header, then radial, intensity[, sigma] as %14.6e; no row for an empty bin.

    ``provenance``: what to say of its making, name -> text or JSON value, a header line each.
    """
    columns = [pattern.radial, pattern.intensity] + ([] if pattern.sigma is None else [pattern.sigma])
    names = [pattern.unit, "intensity", "sigma"][: len(columns)]
    lines = [f"{key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in provenance.items()]
    lines.append(" ".join(f"{name:>14}" for name in names)[2:])
    rows = np.column_stack(columns)[~np.isnan(pattern.intensity)]
    form = " ".join(["%14.6e"] * len(columns)) + "\n"
    header = "".join(f"# {' '.join(line.splitlines())}\n" for line in lines)  # a file name may hold a line break
    return header + (form * len(rows)) % tuple(rows.ravel().tolist())
