"""The page of the documentation, and the picture in it, about each group and key."""

from __future__ import annotations

PAGES = {  # longest beginning first
    "background": ("docs/corrections.md", ""),
    "cache": ("docs/parallel.md", ""),
    "correction": ("docs/corrections.md", ""),
    "geometry": ("docs/geometry.md", ""),
    "geometry.orientation": ("docs/geometry.md", "docs/orientation.png"),
    "integ": ("docs/integration.md", ""),
    "integ.error_model": ("docs/corrections.md", ""),
    "integ.exposure": ("docs/corrections.md", ""),
    "integ.monitor": ("docs/corrections.md", ""),
    "mask": ("docs/masks.md", "docs/masks.png"),
    "output": ("docs/formats.md", ""),
    "parallel": ("docs/parallel.md", ""),
    "parallel.address": ("docs/cluster.md", ""),
    "parallel.chunks": ("docs/cluster.md", ""),
    "parallel.cluster": ("docs/cluster.md", ""),
    "parallel.options": ("docs/cluster.md", ""),
    "plot": ("docs/figures.md", "docs/figures.png"),
    "resume": ("docs/reliability.md", ""),
    "source": ("docs/frames.md", ""),
    "source.folder": ("docs/live.md", ""),
    "source.idle": ("docs/live.md", ""),
    "source.pattern": ("docs/live.md", ""),
    "source.settle": ("docs/live.md", ""),
    "source.transform": ("docs/geometry.md", "docs/orientation.png"),
    "sweep": ("docs/sweeps.md", ""),
}
ALL = "docs/configuration.md"


def page_of(key: str) -> tuple[str, str]:
    """Return the page about a key or group, and its picture or ""."""
    return PAGES.get(key) or PAGES.get(key.partition(".")[0]) or (ALL, "")
