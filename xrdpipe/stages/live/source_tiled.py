"""Tiled: reads the frames of a scan from a Tiled server, as Bluesky fills it, while the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...model.errors import ConfigError, require
from ..arrivals import Arrivals
from .kept_source import KeptSource, needs_packages


@dataclass(frozen=True)
class Tiled(KeptSource):
    """Read the frames of one scan from a Tiled server, a few ahead of the run.

    The API key comes from the environment variable ``TILED_API_KEY``, so that no record holds it. The keys not listed
    here are those of `KeptSource`.

    Attributes
    ----------
    uri
        Address of the server, or of a catalog in it.
    uid
        Name of the scan there: its uid.
    array
        Path of the array of the frames in the scan, (frame, slow, fast) or (event, frame, slow, fast).
    """

    uri: str | None = None
    uid: str | None = None
    array: str = "primary/data/image"

    def watch(
        self,
        values: Mapping[str, Any],
        excluded: Path | None,
        notify: Callable[[str], None],
        stop_requested: Callable[[], bool],
    ) -> tuple[Arrivals | None, dict[str, Any]]:
        """Return the frames of the scan, and the configuration of an ordinary run over the files that it leaves."""
        needs_packages("tiled", "tiled")
        from .tiled_frames import TiledFrames

        if self.uri is None or self.uid is None:
            raise ConfigError(
                "source.uri, source.uid: missing; say which scan, source.uri=http://host:8000 source.uid=..."
            )
        parts = urlsplit(self.uri)
        good = parts.scheme in ("http", "https") and bool(parts.netloc) and "@" not in parts.netloc
        require(good and not parts.query, "source.uri", self.uri, "http://host:port expected, without a key")
        is_name = self.uid.isascii() and self.uid.replace("-", "").replace("_", "").isalnum()
        require(is_name, "source.uid", self.uid, "the uid of a scan expected")
        folder, ordinary = self.ordinary_run(values)
        where = f"source.uid={self.uid}"
        arrivals = TiledFrames(where, folder, self.idle, self.frames, notify, stop_requested)
        arrivals.uri, arrivals.uid, arrivals.array = self.uri, self.uid, self.array
        return arrivals, ordinary
