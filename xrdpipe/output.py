"""Output: the pattern and the mask of a frame as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .frame import Cake, Frame, Pattern
from .provenance import write_text, write_whole
from .stage import Setup, Stage, Step, choice

FORMATS = ("chi",)


@dataclass(frozen=True)
class Output(Stage):
    """Write ``<name>.chi``, and with ``mask`` the mask as ``masks/<name>.npy`` (uint8, 1 = masked, raw orientation).

    Of a frame that has them also ``<name>_<sector>.chi`` and ``<name>_cake.npz`` (`cake_arrays`).
    """

    format: str = "chi"
    mask: bool = False

    def __post_init__(self) -> None:
        choice("format", self.format, FORMATS)

    def outputs(self, name: str) -> list[str]:
        return [f"{name}.chi"] + ([f"masks/{name}.npy"] if self.mask else [])

    def extra_outputs(self, name: str, extras: Mapping[str, list[str]]) -> list[str]:
        endings = {"sectors": "chi", "cake": "npz"}
        return [f"{name}_{suffix}.{endings[what]}" for what, suffixes in extras.items() for suffix in suffixes]

    def prepare(self, setup: Setup) -> Step:
        folder = setup.folder

        def header(frame: Frame, result: Pattern | Cake) -> dict[str, Any]:
            return {**setup.provenance, "method": result.method, "image": f"{frame.file} {frame.digest}"}

        def write(frame: Frame) -> Frame:
            if folder is None:
                return frame
            # The pattern comes last: where it stands, everything else of the frame does.
            if self.mask:
                raw = np.ascontiguousarray(setup.to_raw(frame.masked), dtype=np.uint8)
                write_whole(folder / "masks" / f"{frame.name}.npy", lambda file: np.save(file, raw))
            if frame.cake is not None:
                arrays = cake_arrays(frame.cake, header(frame, frame.cake))
                write_whole(
                    folder / f"{frame.name}_cake.npz", lambda file: np.savez(file, allow_pickle=False, **arrays)
                )
            for suffix, pattern in frame.sectors.items():
                told = {**header(frame, pattern), "azimuth_range": pattern.azimuth_range}
                write_text(folder / f"{frame.name}_{suffix}.chi", chi_text(pattern, told))
            if frame.pattern is not None:
                write_text(folder / f"{frame.name}.chi", chi_text(frame.pattern, header(frame, frame.pattern)))
            return frame

        return write


def cake_arrays(cake: Cake, provenance: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """A cake as plain arrays: its own, without ``sigma`` where there is none, and ``about``, JSON of its making."""
    about = {**provenance, "unit": cake.unit, "label": cake.label}
    arrays = {name: getattr(cake, name) for name in ("radial", "azimuthal", "intensity", "sigma")}
    return {name: each for name, each in arrays.items() if each is not None} | {"about": np.array(json.dumps(about))}


def chi_text(pattern: Pattern, provenance: Mapping[str, Any]) -> str:
    """A pattern as text: ``#`` header, then radial, intensity[, sigma] as %14.6e; no row for an empty bin.

    ``provenance``: what to say of its making, name -> text or JSON value, a header line each.
    """
    columns = [pattern.radial, pattern.intensity] + ([] if pattern.sigma is None else [pattern.sigma])
    names = [pattern.unit, "intensity", "sigma"][: len(columns)]
    lines = [f"{key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in provenance.items()]
    lines.append(" ".join(f"{name:>14}" for name in names).removeprefix("  "))  # which "# " takes up
    rows = np.column_stack(columns)[~np.isnan(pattern.intensity)]
    form = " ".join(["%14.6e"] * len(columns)) + "\n"
    header = "".join(f"# {' '.join(line.splitlines())}\n" for line in lines)  # a file name may hold a line break
    return header + (form * len(rows)) % tuple(rows.ravel().tolist())
