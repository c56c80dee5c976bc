"""Processing of one frame with a prepared pipeline."""

from __future__ import annotations

import math
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..io.writing import file_hash
from ..model.errors import FrameError
from ..model.frame import Frame
from ..model.record import Outcome, pending_record
from ..model.reference import Reference
from ..numerics.metrics import metrics
from ..stages.plot.preview import write_preview
from .recipe import Recipe, prepared


def process_frame(recipe: Recipe, image: Reference, keep: bool, show: bool = False) -> Outcome:
    """Process one frame, in any process or thread; a failure concerns this frame only.

    Parameters
    ----------
    recipe
        Pipeline, prepared at the first call in a process.
    image
        Frame to process.
    keep
        Return pattern and mask (packed bits in the raw orientation).
    show
        Write a preview picture for the report into the folder, and estimate the error of the pattern.
    """
    clock = time.monotonic()
    record = pending_record(image)
    try:
        pipeline = prepared(recipe)
        frame, steps, (size, mtime_ns) = pipeline(image)
        if show and recipe.folder is not None:
            write_preview(recipe.folder, frame)
        about = about_pattern(frame, show or recipe.judged)
        outputs = {} if recipe.folder is None else _hashes(recipe.folder, pipeline.pipeline.outputs(image.name), frame)
    except FrameError as error:
        return Outcome(replace(record, status="failed", error=str(error), seconds=time.monotonic() - clock))
    except Exception as error:  # a full disk or a bug in a stage: the other frames go on
        failed = replace(record, status="failed", error=_reason(error), seconds=time.monotonic() - clock)
        return Outcome(failed, trace=traceback.format_exc())
    n_masked = np.count_nonzero(frame.masked if frame.mask is None else frame.mask)
    done = replace(
        record,
        status="done",
        masked_fraction=round(n_masked / frame.image.size, 6),
        seconds=round(time.monotonic() - clock, 4),
        hash=frame.info.digest,
        inputs={key: dict(each) for key, each in frame.info.inputs.items()},
        size=size,
        mtime_ns=mtime_ns,
        outputs=outputs,
        **about,
        columns=pipeline.pipeline.source.values(frame.header),
        steps=steps,
        notes=list(frame.info.notes),
    )
    mask = np.packbits(pipeline.pipeline.source.to_raw(frame.masked)) if keep else None
    return Outcome(done, frame.pattern, mask, frame.results.sectors, frame.results.cake)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return f"not enough memory{f' ({error})' if str(error) else ''}; lower parallel.n_jobs"
    return f"{type(error).__name__}: {error}"


def _hashes(folder: Path, files: list[str], frame: Frame) -> dict[str, str]:
    known = frame.info.outputs
    return {
        file: known[file] if file in known else file_hash(folder / file)
        for file in files
        if file in known or (folder / file).exists()
    }


def about_pattern(frame: Frame, judged: bool) -> dict[str, Any]:
    """Return the fields of a `Record` that describe the pattern.

    Parameters
    ----------
    frame
        The processed frame.
    judged
        Estimate the error of the pattern too, where the frame can tell.
    """
    estimate = frame.results.pattern_error if judged else None
    total, parts = (math.nan, ()) if estimate is None else estimate()
    error = {"pattern_error": float(f"{total:.6g}")} if math.isfinite(total) else {}
    return {
        "method": "" if frame.pattern is None else frame.pattern.method,
        "metrics": metrics(frame) | error,
        "error_parts": [float(f"{part:.6g}") for part in parts],
    }
