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
from ..config.settings import as_list, parse_settings
from ..execution.plan import geometry_file
from ..geometry.orientation import (
    CLEAR,
    ORIENTATIONS,
    PLAIN,
    Verdict,
    apply_transform,
    canonical,
    compare_orientations,
    detector_orientations,
    override_text,
    ring_misfits,
)
from ..io import files
from ..io.paths import expand
from ..model.errors import ConfigError, FrameError
from ..report.tables import print_table
from ..stages.source import Source

SIDE = 600  # rows and columns to examine
MAX_COVERED = 0.5  # a mask that covers a larger fraction of the signal is considered inverted


def main(arguments: Sequence[str]) -> int:
    """Run ``xrdpipe doctor poni=... IMAGE... [mask.file=...]``; return 0 if nothing is wrong, otherwise 1."""
    command = parse(arguments)
    loader = Loader(command.options.config_dir)
    values = to_builtin(loader.compose(force_overrides(command.overrides), command.options.config_name or "config"))
    top, groups = parse_settings(values)
    source = build(groups["source"], "source", Source)
    poni = geometry_file(top)
    path, raw = _first(expand([*as_list(top.images), *command.images]))
    verdict = compare_orientations(raw, poni, source.transform, top.cache, SIDE)
    if not verdict.sharpness:
        raise ConfigError(
            f"{path}: {raw.shape[0]} x {raw.shape[1]} pixels fit the detector of {poni.path} in no orientation"
        )
    size = f"{raw.shape[0]} x {raw.shape[1]} pixels"
    print(f"{path.name}, {size}, with {poni.name}: how much rings stand out, in each orientation")
    same = detector_orientations(poni, (raw.shape[0], raw.shape[1])) if verdict.current in ORIENTATIONS[:1] else {}
    print_table(
        [
            {
                "source.transform": f"[{','.join(words)}]",
                "or geometry.orientation": str(same.get(words, "")),
                "sharpness": f"{value:.2f}",
                "": "yours" if words == verdict.current else "",
            }
            for words, value in verdict.sharpness.items()
        ]
    )
    wrong, message = diagnosis(verdict)
    print(message)
    mask = (groups.get("mask") or {}).get("file")
    if mask:
        orientation = verdict.best if wrong else verdict.current
        for fault in faults(_mask(str(mask)), raw, ring_misfits(raw, poni, orientation, top.cache)):
            print(f"mask.file={mask}: {fault}")
            wrong = True
    return int(wrong)


def diagnosis(verdict: Verdict) -> tuple[bool, str]:
    """Return whether the orientation is wrong, and a message for the user."""
    best, current = verdict.best, verdict.current
    if verdict.sharpness[best] <= PLAIN:
        return False, "no rings in this frame to judge by: take one of a powder"
    if current not in verdict.sharpness:
        return True, f"your orientation does not fit the detector: say {override_text(best)}"
    if verdict.wrong:
        return True, f"your orientation is wrong: say {override_text(best)} ({verdict.ratio:.1f} times sharper)"
    others = [words for words in verdict.sharpness if words != current]
    margin = min((verdict.sharpness[current] / max(verdict.sharpness[words], 1e-9) for words in others), default=np.inf)
    if margin > CLEAR:
        return False, f"your orientation is right ({margin:.1f} times sharper than any other)"
    near = [override_text(words) for words in others if verdict.sharpness[current] < CLEAR * verdict.sharpness[words]]
    return (
        False,
        f"your orientation may be right, but {', '.join(near)} cannot be ruled out: the rings look alike there",
    )


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
