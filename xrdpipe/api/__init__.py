"""The Python interface, which mirrors the command line.

`xrdpipe/__init__.py` names its functions. Begin with `integrate`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..model import pattern as _pattern


def _draw_pattern(pattern: Any) -> bytes:
    from ..stages.plot.figures import pattern_png

    return pattern_png(pattern)


def _draw_cake(cake: Any) -> bytes:
    from ..stages.plot.azimuth import CakeFigure

    return CakeFigure({}).draw(cake, "")


def _draw_static_mask(mask: Any) -> bytes:
    from ..report.static_mask import mask_png

    return mask_png(mask)


_pattern.pictures.update(Pattern=_draw_pattern, Cake=_draw_cake, StaticMask=_draw_static_mask)


@contextmanager
def without_log_output() -> Iterator[None]:
    """Keep log messages out of a program that does not log.

    PyFAI and silx call ``logging.basicConfig`` when they are imported, and from then on every message is printed. It
    does nothing while the root logger has a handler. ``xrdpipe.log`` gets the messages of a run in any case.
    """
    root = logging.getLogger()
    if root.handlers:
        yield
        return
    root.addHandler(handler := logging.NullHandler())
    try:
        yield
    finally:
        root.removeHandler(handler)
