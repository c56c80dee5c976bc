"""Entry points of installed plug-ins, by group."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points

STAGES, SOURCES, ENGINES, FORMATS = "xrdpipe.stages", "xrdpipe.sources", "xrdpipe.engines", "xrdpipe.formats"


def plugins(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name. The lookup is cached per state of `sys.path`."""
    return _plugins(group, tuple(sys.path))


@cache
def _plugins(group: str, path: tuple[str, ...]) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def plugin_packages() -> frozenset[str]:
    """Return the packages whose stages and sources a configuration may name."""
    points = [*plugins(STAGES).values(), *plugins(SOURCES).values()]
    return frozenset(point.module.partition(".")[0] for point in points)
