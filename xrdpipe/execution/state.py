"""State of a run in progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..model.record import Outcome, pending_record
from ..model.reference import Reference, Taken
from ..results.folder import Folder
from ..results.records import Records
from ..stages.collector import Collector
from .listeners import Listener
from .live import arriving_batches
from .plan import Plan
from .progress import Progress


@dataclass
class RunState:
    """State of a run in progress.

    Attributes
    ----------
    target
        Results folder; None if nothing is written.
    records
        Records of the frames that are not waiting.
    in_work
        Frames that the engine has taken, by name.
    """

    plan: Plan
    target: Folder | None
    progress: Progress
    records: Records
    in_work: dict[str, Reference] = field(default_factory=dict)
    collectors: list[Collector] = field(default_factory=list)
    listeners: list[Listener] = field(default_factory=list)

    def batches(self) -> Iterator[Sequence[Reference]]:
        """Yield the frames that exist, then each batch of frames that arrive."""
        if self.plan.waiting:
            yield Taken(self.plan.waiting, self.in_work)
        if others := self.plan.images.settle():
            self.progress.total += len(others)
            yield Taken(others, self.in_work)
        for batch in arriving_batches(self.plan, self.target, self.collectors):
            self.records.remove(image.name for image in batch)
            self.progress.total += len(batch)
            yield Taken(batch, self.in_work)

    def take(self, outcome: Outcome) -> None:
        """Pass a processed frame to the listeners and store its record."""
        image = self.in_work[outcome.record.name]
        for listener in self.listeners:
            outcome = listener.frame(outcome, image)
        if self.target is None:  # otherwise the journal stores it
            self.records.add(outcome.record)
        del self.in_work[image.name]

    def complete(self) -> None:
        """Add records of frames that are still waiting, and put all in the order of the images."""
        images, records = self.plan.images, self.records
        images.settle()
        if self.progress.done < len(self.plan.waiting) or self.plan.arrivals is not None:
            for image in images:
                if image.name not in records:
                    records.add(pending_record(image))
        records.arrange(image.name for image in images)
