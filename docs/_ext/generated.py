"""Parts of pages that are made from the program when the site is built.

A line ``<!-- generated: NAME -->`` in a page is replaced before the page is parsed. The page ``gallery.md`` runs its
commands, and shows the figures that they leave.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import blocks
import keys
import messages
from sphinx.application import Sphinx
from sphinx.util import logging

import xrdpipe
from xrdpipe.cli.help import help_text

PLACE = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


def api() -> str:
    """Return directives for everything that ``xrdpipe`` offers."""
    names = [f"xrdpipe.{name}" for name in xrdpipe.__all__ if not name.startswith("_")]
    parts = {"Functions": [], "Classes": []}
    for name in names:
        kind = "class" if name.rpartition(".")[2][0].isupper() else "function"
        options = "\n   :members:\n   :show-inheritance:" if kind == "class" else ""
        parts["Classes" if options else "Functions"].append(f".. auto{kind}:: {name}{options}")
    return "\n\n".join(
        "\n".join([f"## {title}", "", "```{eval-rst}", "\n\n".join(directives), "```"])
        for title, directives in parts.items()
    )


def manual(command: str = "") -> str:
    """Return the manual page of a command, as ``--help`` prints it."""
    return f"```text\n{help_text(command)}\n```"


PARTS = {
    "keys": keys.page,
    "messages": messages.page,
    "api": api,
    "help": manual,
    "help_calibrate": lambda: manual("calibrate"),
}


def fill_in(app: Sphinx, docname: str, content: list[str]) -> None:
    """Replace the places of generated parts in the source of a page."""
    content[0] = PLACE.sub(lambda place: PARTS[place[1]](), content[0])


def outdated(app: Sphinx, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Return the pages with generated parts: the program may have changed, though the page has not."""
    return [name for name in env.found_docs if PLACE.search(Path(env.doc2path(name)).read_text(encoding="utf-8"))]


def make_gallery(app: Sphinx) -> None:
    """Run the commands of the gallery in ``_generated/gallery``, unless page and version are those of the last time."""
    page, folder = Path(app.srcdir, "gallery.md"), Path(app.srcdir, "_generated", "gallery")
    stamp = folder / "made_from"
    wanted = f"{xrdpipe.__version__}\n{page.read_text(encoding='utf-8')}"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names: dict[str, Any] = {}
    for block in blocks.read(page):
        logging.getLogger(__name__).info("gallery: %s", block.text.replace("\n", "; "))
        blocks.run(block, folder, names)
    stamp.write_text(wanted, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect these functions to Sphinx."""
    app.connect("builder-inited", make_gallery)
    app.connect("source-read", fill_in)
    app.connect("env-get-outdated", outdated)
    return {"parallel_read_safe": True}
