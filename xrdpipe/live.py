"""Live: what a run does while frames arrive: it names them, takes each once, and keeps its report fresh."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .folder import JOURNAL, Folder
from .frame import Reference
from .plan import PICTURES, Plan
from .preview import FOLDER
from .report import write_report

log = logging.getLogger("xrdpipe")

FRESH = 3.0  # seconds between reports, at least; and no more than a fifth of the time goes into them


def arriving(plan: Plan, target: Folder | None) -> Iterator[list[Reference]]:
    """Batches of images that came since the plan was made and are to be done, each with its name.

    They join the images of the plan. Also says of which a picture stays: the first one and some of the latest.
    """
    arrivals = plan.arrivals
    if arrivals is None:
        return
    most, batches, pictures = arrivals.watch.frames, arrivals.batches(), [*plan.shown]
    seen, clock = {image.name for image in plan.images}, time.monotonic()
    before = set(target.records) if target else set()
    while most is None or len(seen | before) < most:
        found = next(batches, None)
        if found is None:
            return
        if target is not None:
            found = [each for each in found if not target.renamed(each)]
        named = plan.named(found, target)
        new = [image for image in named if image.name not in seen | before]
        if most is not None:
            late = new[most - len(seen | before) :]
            named = [image for image in named if image not in late]
        plan.images.extend(image for image in named if image.name not in seen)
        redo = plan.settings.overwrite
        batch = [
            image
            for image in named
            if target is None
            or (redo and image.name not in seen)
            or not target.done(image, plan.pipeline.outputs(image.name), plan.settings.resume == "verify")
        ]
        seen.update(image.name for image in named)
        if batch and plan.settings.report and target is not None and time.monotonic() - clock > FRESH / 2:
            clock = time.monotonic()
            pictures.append(batch[-1].name)
            plan.shown.add(batch[-1].name)
            if len(pictures) > PICTURES:
                (target.path / FOLDER / f"{pictures.pop(1)}.png").unlink(missing_ok=True)
        if batch:
            yield batch


@contextmanager
def kept_fresh(folder: Path) -> Iterator[None]:
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
