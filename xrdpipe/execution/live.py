"""Live: what a run does while frames arrive: it names them, takes each once, and keeps its report fresh."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..model.naming import assign_names
from ..model.reference import Reference, absolute_location
from ..report.report import write_report
from ..results.folder import Folder
from ..results.journal import JOURNAL
from ..stages.plot.preview import FOLDER
from .plan import PICTURES, Plan

log = logging.getLogger("xrdpipe")


FRESH = 3.0  # seconds between reports, at least; and no more than a fifth of the time goes into them


def arriving_batches(plan: Plan, target: Folder | None) -> Iterator[list[Reference]]:
    """Batches of images that came since the plan was made and are to be done, each with its name.

    They join the images of the plan. Also says of which a picture stays: the first one and some of the latest.
    """
    arrivals = plan.arrivals
    if arrivals is None:
        return
    most, batches, pictures = arrivals.limit, arrivals.batches(), [*plan.shown]
    names = {**(target.names if target else {}), **{image.name: absolute_location(image) for image in plan.images}}
    seen, clock = {image.name for image in plan.images}, time.monotonic()
    there = set(seen)  # of the frames that `most` counts, those done before among them
    if target is not None and plan.resumes:
        there |= {name for name, record in target.records.items() if record.status == "done"}
    while most is None or len(there) < most:
        found = next(batches, None)
        if found is None:
            return
        if target is not None:
            found = [each for each in found if not target.renamed(each)]
        came = assign_names(found, names)
        if most is not None:
            late = [image.name for image in came if image.name not in there][most - len(there) :]
            came = [image for image in came if image.name not in late]
        names |= {image.name: absolute_location(image) for image in came}
        there |= {image.name for image in came}
        plan.images.extend(image for image in came if image.name not in seen)
        batch = [
            image
            for image in came
            if target is None
            or (plan.settings.overwrite and image.name not in seen)
            or not target.done(image, plan.pipeline.outputs(image.name), plan.settings.resume == "verify")
        ]
        seen |= {image.name for image in came}
        if batch and plan.settings.report and target is not None and time.monotonic() - clock > FRESH / 2:
            clock = time.monotonic()
            pictures.append(batch[-1].name)
            plan.shown.add(batch[-1].name)
            if len(pictures) > PICTURES:
                (target.path / FOLDER / f"{pictures.pop(1)}.png").unlink(missing_ok=True)
        if batch:
            yield batch


@contextmanager
def live_report(folder: Path) -> Iterator[None]:
    """Replace ``report.html`` every few seconds while frames are added to the journal of the run."""
    ended = threading.Event()

    def renew() -> None:
        size, pause = 0, FRESH / 3
        while not ended.wait(pause):
            pause = FRESH / 3
            try:
                now = (folder / JOURNAL).stat().st_size
                if now != size:
                    clock = time.monotonic()
                    write_report(folder)
                    size, pause = now, max(FRESH, 4 * (time.monotonic() - clock))
            except Exception:  # the one at the end says what is wrong
                log.debug("no report yet", exc_info=True)

    thread = threading.Thread(target=renew, name="report", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
