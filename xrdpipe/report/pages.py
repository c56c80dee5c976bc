"""Templates of the pages, in which every value is escaped."""

from __future__ import annotations

from typing import Any


def page_environment() -> Any:
    """Return Jinja's environment of the templates in ``templates/``; a missing value is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("xrdpipe.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page_part(environment: Any, name: str) -> Any:
    """Return a style sheet or script of ``templates/``, to be put into a page as it is."""
    from markupsafe import Markup

    return Markup(environment.loader.get_source(environment, name)[0])
