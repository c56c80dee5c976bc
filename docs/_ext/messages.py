"""The messages with which the program refuses something, read from its source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import xrdpipe

PACKAGE = Path(xrdpipe.__file__).parent
KINDS = {"ConfigError": "refused", "FrameError": "a frame fails", "require": "refused", "InUseError": "refused"}
TITLES = {
    "config": "Command line and configuration",
    "geometry": "Geometry",
    "io": "Files",
    "stages": "Stages",
    "execution": "Runs",
    "results": "Results folders",
    "sweeps": "Sweeps",
    "calibration": "Calibration",
    "look": "xrdpipe look",
    "cli": "Other commands",
    "report": "Reports",
}


def page() -> str:
    """Return a table of messages for each package as Markdown."""
    found: dict[str, dict[tuple[str, str], None]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        package = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for message in _messages(ast.parse(path.read_text(encoding="utf-8"))):
            found.setdefault(package, {})[message] = None
    lines: list[str] = []
    for package, title in TITLES.items():
        if package in found:
            lines += [f"## {title}", "", "| message | then |", "|---|---|"]
            lines += [f"| {_cell(text)} | {then} |" for text, then in sorted(found[package], key=_order)]
            lines += [""]
    return "\n".join(lines)


def _messages(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in KINDS:
            continue
        name, arguments = node.func.id, node.args
        if name == "require" and len(arguments) == 4:
            text = f"{_template(arguments[1])}={_template(arguments[2])}: {_template(arguments[3])}"
        elif arguments and name != "require":
            text = _template(arguments[0])
        else:
            continue
        if len(re.sub(r"[^a-z]", "", text)) > 8:  # not one that is put together elsewhere
            yield text, KINDS[name]


def _template(node: ast.AST) -> str:
    # The text of a message, with "..." in place of what the program puts in.
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_template, node.values))
    if isinstance(node, ast.BinOp):
        return _template(node.left) + _template(node.right)
    return "..."


def _order(message: tuple[str, str]) -> str:
    return message[0].lstrip(".=: ").lower()


def _cell(text: str) -> str:
    shown = re.sub(r"(\.\.\.)+", "...", re.sub(r"\s+", " ", text.strip())).replace("|", r"\|")
    return f"`` {shown} ``"
