"""Header: what a file says of its image, read when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any


class Header(Mapping[str, Any]):
    """The header of an image file as fabio gives it; a key that begins with / is a path in an HDF5 file.

    KeyError for what is not there. Nothing is read before a key is asked for.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @cached_property
    def _values(self) -> dict[str, Any]:
        import fabio

        try:
            with fabio.openheader(str(self.path)) as file:
                return dict(file.header)
        except Exception:  # fabio raises anything; what it cannot read has no header
            return {}

    def __getitem__(self, key: str) -> Any:
        return _dataset(self.path, key) if key.startswith("/") else self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _dataset(path: Path, key: str) -> Any:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            node = file[key]
            if not isinstance(node, h5py.Dataset) or node.size != 1:
                raise KeyError(key)
            value = node[()]
            return value.decode(errors="replace") if isinstance(value, bytes) else value.ravel()[0].item()
    except OSError as error:
        raise KeyError(key) from error
