"""The figure of the pattern that is merged of all frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...io.writing import write_bytes
from ...model.pattern import Pattern
from ...model.series import MERGED, Series
from ..integ.multi import Merged
from .figures import PatternFigure

if TYPE_CHECKING:
    from ...model.record import Record


class MergedFigure(Merged):
    """Draw the merged pattern.

    Parameters
    ----------
    series
        The frames of the run.
    keys
        Keyword arguments of matplotlib's ``Axes.plot``.
    """

    def __init__(self, series: Series, keys: dict[str, Any]) -> None:
        super().__init__(series, [f"{MERGED}.png"])
        self._keys = keys

    def write(self, pattern: Pattern, merged: str) -> None:
        """Write the figure; its title says how many frames there are."""
        title = " ".join(merged.split()[:2])
        write_bytes(self.series.folder, self.files[0], PatternFigure(self._keys).draw(pattern, title))

    def end(self, records: Mapping[str, Record]) -> list[str]:
        """Write the figure; what the notes would say is said of the pattern already."""
        super().end(records)
        return []
