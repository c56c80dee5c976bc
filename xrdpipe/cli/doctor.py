"""``xrdpipe doctor``: check the orientation of a frame against its PONI, and its mask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config.arguments import parse
from ..config.loader import Loader, force_overrides, to_builtin
from ..config.schema import build
from ..config.settings import Settings, all_images, parse_settings
from ..execution.plan import geometry_file
from ..geometry.orientation import (
    ORIENTATIONS,
    SURE,
    Verdict,
    apply_transform,
    canonical,
    compare_orientations,
    detector_orientations,
    override_text,
    ring_misfits,
)
from ..geometry.poni import Poni
from ..io import files
from ..io.header import header
from ..io.paths import expand
from ..model.errors import ConfigError, FrameError
from ..model.frame import Frame, Info
from ..pipeline.frame_geometry import frame_poni
from ..report.tables import print_table
from ..stages.scalar_lookup import file_lookups, refuse_lookups
from ..stages.source import Source

FEW = 3.0  # counts per pixel
FAINT = 6.0  # standard deviations: noise, spots and shadows give less in their best orientation
NEAR = 5.0  # pixels between rings
CLEAR = 2.0  # ratio of bad pixels under a turned mask that is not accidental
MAX_COVERED = 0.5  # a mask that covers a larger fraction of the signal is considered inverted


def main(arguments: Sequence[str], document: dict[str, Any] | None = None) -> int:
    """Run ``xrdpipe doctor poni=... IMAGE... [mask.file=...]``; return 0 if nothing is wrong, otherwise 1."""
    command = parse(arguments)
    loader = Loader(command.options.config_dir)
    overrides = force_overrides(command.overrides)
    values = to_builtin(loader.compose(overrides, command.options.config_name or "config"))
    top, groups = parse_settings(values)
    source = build(groups["source"], "source", Source)
    path, raw = _first(expand(all_images(top.images, command.images, overrides)))
    poni = _poni_of(top, path)
    verdict = compare_orientations(raw, poni, source.transform, top.cache)
    if not verdict.against:
        raise ConfigError(
            f"{path}: {raw.shape[0]} x {raw.shape[1]} pixels fit the detector of {poni.path} in no orientation"
        )
    wrong, message = diagnosis(verdict)
    mask = (groups.get("mask") or {}).get("file")
    refuse_lookups(file_lookups("mask.file", [mask] if isinstance(mask, str) else mask or []))
    orientation = verdict.best if wrong else verdict.current
    found = faults(_mask(str(mask)), raw, ring_misfits(raw, poni, orientation, top.cache)) if mask else []
    if document is not None:
        document |= _document(path, verdict, message)
        document |= {"orientation_wrong": wrong, "mask": mask, "mask_faults": found}
        return int(wrong or bool(found))
    size = f"{raw.shape[0]} x {raw.shape[1]} pixels"
    print(f"{path.name}, {size}, with {poni.name}: evidence against each orientation, in sigma ({SURE:g} is sure)")
    same = detector_orientations(poni, (raw.shape[0], raw.shape[1])) if verdict.current in ORIENTATIONS[:1] else {}
    print_table(
        [
            {
                "source.transform": f"[{','.join(words)}]",
                "or geometry.orientation": str(same.get(words, "")),
                "against": "best" if not number else f"{value:.1f}",
                "apart": f"{verdict.apart[words]:.1f} px",
                "": "yours" if words == verdict.current else "",
            }
            for number, (words, value) in enumerate(verdict.against.items())
        ]
    )
    print(message)
    for fault in found:
        print(f"mask.file={mask}: {fault}")
    return int(wrong or bool(found))


def _poni_of(settings: Settings, path: Path) -> Poni:
    """Return the calibration of the first frame of a file; ConfigError if it has none."""
    poni = geometry_file(settings)
    if not poni.lookups:
        return poni
    reference = files.references([path])[0]
    frame = Frame(reference.name, np.empty((0, 0), np.float32), header=header(reference), info=Info(path.name))
    try:
        return frame_poni(poni, reference, frame)
    except FrameError as error:
        raise ConfigError(str(error)) from error


def _document(path: Path, verdict: Verdict, message: str) -> dict[str, Any]:
    orientations = [
        {"transform": list(words), "against": value, "apart": verdict.apart[words], "yours": words == verdict.current}
        for words, value in verdict.against.items()
    ]
    return {"frame": path, "message": message, "orientations": orientations, "sure": SURE}


def diagnosis(verdict: Verdict) -> tuple[bool, str]:
    """Whether the orientation is wrong, and what to say."""
    current, likely = verdict.current, verdict.likely
    others = [words for words in likely if words != current]
    if current not in verdict.against:
        if len(likely) == 1:
            return True, f"your orientation does not fit the detector: say {override_text(verdict.best)}"
        return True, f"your orientation does not fit the detector: say one of {_listed(likely)} ({_reason(verdict)})"
    if verdict.wrong:
        how = f"{verdict.against[current]:.1f} sigma against yours"
        message = f"your orientation is wrong: say {override_text(verdict.best)} ({how})"
        return True, f"{message}; {_listed(others[1:])} cannot be told from it" if others[1:] else message
    if verdict.right:
        against = min((value for words, value in verdict.against.items() if words not in likely), default=0.0)
        if len(likely) == len(verdict.against):
            return False, "your orientation is right: all others have the same rings, to within a pixel"
        message = f"your orientation is right ({against:.1f} sigma against the next)"
        return False, f"{message}; {_listed(others)} has the same rings, to within a pixel" if others else message
    all_of_them = len(likely) == len(verdict.against)
    rest = "all others" if all_of_them and others[1:] else _listed(others)
    return False, f"cannot tell your orientation from {rest}: {_reason(verdict)}"


def _listed(orientations: Sequence[tuple[str, ...]]) -> str:
    return ", ".join(override_text(words) for words in orientations)


def _reason(verdict: Verdict) -> str:
    """Why the frame cannot tell, and what would help."""
    far = max(verdict.apart[words] for words in verdict.likely)
    if verdict.rings < FAINT:
        if 0 < verdict.counts < FEW:
            return f"too few rings stand out at {verdict.counts:.2g} counts a pixel; take a longer exposure"
        return "rings stand out of noise, spots and shadows in too few places; take a frame of a powder with full rings"
    if far < NEAR:
        return f"their rings lie within {far:.1f} pixels of each other; take a frame with sharper rings or more counts"
    return "the rings that are there fit all of them; take a frame with more rings or more counts"


def faults(mask: NDArray[np.bool_], raw: NDArray[Any], bad: NDArray[np.bool_] | None) -> list[str]:
    """Return messages about faults of a mask.

    Parameters
    ----------
    mask
        Mask (slow, fast), True = masked.
    raw
        Counts of the raw frame (slow, fast).
    bad
        Pixels of the frame that do not fit their ring (slow, fast); None if they are unknown.
    """
    if mask.shape not in (raw.shape, raw.shape[::-1]):
        return [f"{mask.shape[0]} x {mask.shape[1]} pixels, the frame has {raw.shape[0]} x {raw.shape[1]}"]
    counts = np.where(np.isfinite(raw) & (raw > 0), raw, 0).astype(float)
    if raw.dtype.kind == "u":
        counts[raw == np.iinfo(raw.dtype).max] = 0
    if mask.shape == raw.shape and counts.sum() and (share := counts[mask].sum() / counts.sum()) > MAX_COVERED:
        return [f"covers {100 * share:.0f} % of the signal: it looks inverted (1 is masked, 0 is good)"]
    if bad is None or not mask.any():
        return []
    covered = {
        words: float(bad[turn].mean())
        for words in ORIENTATIONS
        if (turn := apply_transform(mask, words)).shape == bad.shape
    }
    best = max(covered, key=lambda words: covered[words])
    if best and covered[best] > MAX_COVERED and covered[best] > CLEAR * covered.get((), 0.0):
        return [f"fits the bad pixels of the frame better when turned by {', '.join(canonical(best))}"]
    return []


def _first(paths: Sequence[Path]) -> tuple[Path, NDArray[Any]]:
    reasons = []
    for path in paths:
        try:
            return path, _image(path)
        except FrameError as error:
            reasons.append(f"{path}: {error}")
    raise ConfigError(reasons[0] if reasons else "images: missing; say which frame to look at")


def _image(path: Path) -> NDArray[Any]:
    """Return the first image of a file, raw; raise FrameError if there is none."""
    references = files.list_frames(path).references
    if not references:
        raise FrameError("holds no frame")
    return files.read(references[0])[0]


def _mask(path: str) -> NDArray[np.bool_]:
    try:
        masked: NDArray[np.bool_] = _image(Path(path)) != 0
    except FrameError as error:
        raise ConfigError(f"mask.file={path}: {error}") from error
    return masked
