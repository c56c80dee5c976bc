"""The reference of all keys, made from the shipped configuration files and the schemas of the stages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from xrdpipe.config.described import GROUPS, Described, conf_dir, described_keys, described_option, option_files
from xrdpipe.config.keys import allowed


def page() -> str:
    """Return the sections of all groups as Markdown."""
    parts = ["## Top level", "", *_entries(described_keys(conf_dir() / "config.yaml"))]
    for group in GROUPS:
        parts += [f"## `{group}`", "", *_group(group)]
    parts += ["## `experiment`", "", *_options("experiment", list(option_files("experiment").values()), {})]
    return "\n".join(parts)


def _group(group: str) -> Iterator[str]:
    files = list(option_files(group).values())
    default = described_keys(files[0], f"{group}.")
    yield from _options(group, files, default)
    yield from _entries(default)
    before = set(default)
    for paths, added in _additions(group, files, default):
        yield f"With {' and '.join(f'`{group}={path.stem}`' for path in paths)}:"
        yield ""
        yield from _entries(added, {key: f"{paths[0].stem}-{key}" for key in before})
        before |= set(added)


def _additions(
    group: str, files: list[Path], default: dict[str, Described]
) -> Iterator[tuple[list[Path], dict[str, Described]]]:
    # Keys that the default lacks, or that mean something else in another class of stages, once for each class.
    classes: dict[str, list[Path]] = {}
    for path in files[1:]:
        classes.setdefault(_target(path), []).append(path)
    for target, paths in classes.items():
        own: dict[str, Described] = {}
        for path in paths:
            own |= {key: each for key, each in described_keys(path, f"{group}.").items() if key not in own}
        replaced = target != _target(files[0]) and len(own.keys() - default.keys()) > 5  # another stage altogether
        if new := {key: each for key, each in own.items() if replaced or key not in default}:
            yield paths, new


def _options(group: str, files: list[Path], default: dict[str, Described]) -> Iterator[str]:
    rows = []
    for path in files:
        own = described_keys(path, f"{group}.")
        changed = [
            f"`{key.removeprefix(f'{group}.')}: {each.value}`"
            for key, each in own.items()
            if key in default and each.value and each.value != default[key].value
        ]
        rows.append([f"`{group}={path.stem}`", _escaped(described_option(path)), ", ".join(changed)])
    titles = ["option", "what it is", "differs from the default"]
    columns = 3 if any(row[2] for row in rows) else 2
    yield f"| {' | '.join(titles[:columns])} |"
    yield "|---" * columns + "|"
    for row in rows:
        yield f"| {' | '.join(row[:columns])} |"
    yield ""


def _entries(described: Mapping[str, Described], taken: Mapping[str, str] = MappingProxyType({})) -> Iterator[str]:
    for key, (value, text) in described.items():
        shown = f" = `{value}`" if value else ""
        anchor = taken.get(key, key)
        yield f'[`{key}`]{{id="{anchor}"}}{shown}'
        yield f": {_escaped(text)}" + (f" *({_escaped(values)})*" if (values := _short(allowed(key))) else "")
        yield ""


def _short(values: str) -> str:
    # Long lists of names, as of units, end in "...".
    names = values.split(", ")
    return values if len(names) < 16 else ", ".join([*names[:12], "..."])


def _escaped(text: str) -> str:
    return re.sub(r"([*_<>|\[\]$])", r"\\\1", text)


def _target(path: Path) -> str:
    found = re.search(r"^_target_: (\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else ""
