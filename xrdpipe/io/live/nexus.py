"""NeXus files of a run whose frames arrive while it goes on: HDF5 that grows in SWMR mode.

SWMR (single writer, multiple readers) is HDF5's mode in which other processes read a file while rows are appended:
``h5py.File(path, "r", swmr=True)``, then ``refresh()`` of a dataset. When the run ends, the file becomes an ordinary
one of `io.nexus`, with its rows in the order of the images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...model.cake import Cake
from ...model.errors import FrameError
from ...model.pattern import Pattern
from ...model.series import Series
from ..nexus import LONGEST, NexusFile
from ..nexus_read import Data, _utf8

if TYPE_CHECKING:
    from ...model.record import Record

COLUMNS = ("name", "I", "I_errors", "image_hash", "pattern_hash")


class LiveNexusFile(NexusFile):
    """File of one series to which a row is appended for each frame that arrives. The first pattern creates it.

    Attributes
    ----------
    names
        Names of its frames in the order of the images; needed by `end`.
    """

    grows: ClassVar[bool] = True

    def __init__(self, series: Series, title: str) -> None:
        super().__init__(series, title, [])
        self._title = title
        self._file: Any = None  # open in SWMR mode

    def keep(self, record: Record, pattern: Pattern | Cake) -> None:
        """Keep the pattern of a frame for `flush`; raise FrameError if its axis differs from that of the file."""
        if len(_utf8(record.name).encode()) > LONGEST:
            raise FrameError(f"{self.path.name}: the name of the frame has more than {LONGEST} bytes")
        super().keep(record, pattern)

    def flush(self, last: str = "") -> None:
        """Append what is kept; raise OSError, and keep all but the frame ``last``, if that fails.

        The status comes last, in a flush of its own, so that it implies all the others.
        """
        if not self._kept or self._file is None:
            return
        try:
            for columns in (COLUMNS, ("status",)):
                for column in columns:
                    self._append(column)
                self._file.flush()
        except (OSError, RuntimeError) as error:
            self._kept.pop(self._places.get(_utf8(last), -1), None)
            raise OSError(f"{self.path.name}: {error}") from error
        self._kept.clear()

    def end(self, records: Mapping[str, Record]) -> None:
        """Close the file, and rewrite it as an ordinary one with the records of all frames."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None
        final = NexusFile(self.series, self._title, self.names)
        final.waiting = {name for name, record in records.items() if record.status != "done"}
        final.end(records)

    def _write(self, data: Data, records: Mapping[str, Record]) -> None:
        import h5py

        super()._write(data, records)
        self._file = h5py.File(self.path, "r+", libver="latest", locking=False)
        self._file.swmr_mode = True

    def _append(self, column: str) -> None:
        """Write a column of the kept rows, which `_places` puts at the end or where the frame was before."""
        entry = self._file["entry"]
        dataset = entry["data"].get(column, entry["frames"].get(column))
        if dataset is None:  # without an error model
            return
        if len(dataset) < len(self._places):
            dataset.resize(len(self._places), axis=0)
        names = {place: name for name, place in self._places.items()} if column == "name" else {}
        for place, row in self._kept.items():
            if dataset.ndim > 1:
                dataset[place] = np.frombuffer(row[column], "<f8").reshape(dataset.shape[1:])
            else:
                dataset[place] = names[place].encode() if names else row[column]

    def _place(self, name: str) -> int:
        return self._places.setdefault(name, len(self._places))
