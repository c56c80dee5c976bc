"""Output: the pattern and the mask of a frame as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .frame import Frame, Pattern
from .provenance import write_text, write_whole
from .stage import Setup, Stage, Step, choice

FORMATS = ("chi",)


@dataclass(frozen=True)
class Output(Stage):
    """Write ``<name>.chi``, and with ``mask`` the mask as ``masks/<name>.npy`` (uint8, 1 = masked, raw orientation)."""

    format: str = "chi"
    mask: bool = False

    def __post_init__(self) -> None:
        choice("format", self.format, FORMATS)

    def outputs(self, name: str) -> list[str]:
        return [f"{name}.chi"] + ([f"masks/{name}.npy"] if self.mask else [])

    def prepare(self, setup: Setup) -> Step:
        folder = setup.folder

        def write(frame: Frame) -> Frame:
            if folder is None:
                return frame
            # The pattern comes last: where it stands, everything else of the frame does.
            if self.mask:
                raw = np.ascontiguousarray(setup.to_raw(frame.masked), dtype=np.uint8)
                write_whole(folder / "masks" / f"{frame.name}.npy", lambda file: np.save(file, raw))
            if frame.pattern is not None:
                made = {"method": frame.pattern.method, "image": f"{frame.file} {frame.digest}"}
                header = {**setup.provenance, **frame.factors, **made}
                write_text(folder / f"{frame.name}.chi", chi_text(frame.pattern, header))
            return frame

        return write


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
