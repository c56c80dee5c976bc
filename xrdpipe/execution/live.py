"""Frames that arrive during a run: they are named, processed once each, and shown in a live report."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..model.naming import assign_names
from ..model.reference import Reference, absolute_location
from ..report.report import write_report
from ..results.folder import Folder
from ..results.journal import JOURNAL
from ..stages.collector import Collector
from ..stages.plot.preview import FOLDER
from .plan import PICTURES, Plan

log = logging.getLogger("xrdpipe")

REPORT_INTERVAL = 3.0  # minimum seconds between reports; they also take at most a fifth of the time


def arriving_batches(
    plan: Plan, target: Folder | None, collectors: Sequence[Collector] = ()
) -> Iterator[list[Reference]]:
    """Yield batches of named images that arrive after the plan was made and are not done yet, in ``collectors`` too.

    All images that arrive are added to ``plan.images``, and some to ``plan.shown``: the report keeps pictures of the
    first image and of some of the latest. ``target`` is the results folder.
    """
    arrivals = plan.arrivals
    if arrivals is None:
        return
    limit, batches, pictures = arrivals.limit, arrivals.batches(), [*plan.shown]
    names = {
        **dict(target.names.items() if target else ()),
        **{image.name: absolute_location(image) for image in plan.images},
    }
    seen, clock = {image.name for image in plan.images}, time.monotonic()
    counted = set(seen)  # names that count towards the limit, including frames of an earlier run
    if target is not None and plan.resumes:
        counted |= {name for name, record in target.records.items() if record.status == "done"}
    while limit is None or len(counted) < limit:
        frames = next(batches, None)
        if frames is None:
            return
        if target is not None:
            frames = [frame for frame in frames if not target.renamed(frame)]
        images = list(assign_names(frames, names))
        if limit is not None:
            excess = [image.name for image in images if image.name not in counted][limit - len(counted) :]
            images = [image for image in images if image.name not in excess]
        names |= {image.name: absolute_location(image) for image in images}
        counted |= {image.name for image in images}
        plan.images.extend(image for image in images if image.name not in seen)
        batch = [
            image
            for image in images
            if target is None
            or (plan.settings.overwrite and image.name not in seen)
            or not target.done(image, plan.pipeline.outputs(image.name), plan.settings.resume == "verify")
            or not all(each.holds(target.records[image.name]) for each in collectors)
        ]
        seen |= {image.name for image in images}
        if batch and plan.settings.report and target is not None and time.monotonic() - clock > REPORT_INTERVAL / 2:
            clock = time.monotonic()
            pictures.append(batch[-1].name)
            plan.shown.add(batch[-1].name)
            if len(pictures) > PICTURES:
                (target.path / FOLDER / f"{pictures.pop(1)}.png").unlink(missing_ok=True)
        if batch:
            yield batch


@contextmanager
def live_report(folder: Path) -> Iterator[None]:
    """Rewrite ``report.html`` every few seconds while the journal of the run grows."""
    ended = threading.Event()

    def update_report() -> None:
        size, pause = 0, REPORT_INTERVAL / 3
        while not ended.wait(pause):
            pause = REPORT_INTERVAL / 3
            try:
                now = (folder / JOURNAL).stat().st_size
                if now != size:
                    clock = time.monotonic()
                    write_report(folder)
                    size, pause = now, max(REPORT_INTERVAL, 4 * (time.monotonic() - clock))
            except Exception:  # the final report tells the user what is wrong
                log.debug("no report yet", exc_info=True)

    thread = threading.Thread(target=update_report, name="report", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
