"""The keys of the shipped configuration files, with the descriptions in their comments; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

# groups in the order of the manual
GROUPS = (
    "geometry",
    "source",
    "background",
    "correction",
    "mask",
    "integ",
    "pattern",
    "plot",
    "output",
    "parallel",
    "sweep",
)


class Described(NamedTuple):
    """The value of a key as it is written, and its description."""

    value: str
    text: str


def described_keys(path: Path, prefix: str = "") -> dict[str, Described]:
    """Return the keys of a configuration file with their descriptions, up to Hydra's own part.

    Parameters
    ----------
    path
        The file. A line of it is ``key: value  # description``, nested once at most, so no YAML parser is needed.
    prefix
        Beginning of every key, ``mask.`` for a file of the group ``mask``.
    """
    found, parent = {}, ""
    for line in path.read_text(encoding="utf-8").splitlines():
        key, colon, remaining = line.partition(":")
        if line.startswith("hydra:"):
            break
        if not colon or key.lstrip().startswith(("#", "_", "-")) or key == "defaults":
            continue
        value, _, description = remaining.partition(" #")  # a colour begins with # too
        parent = parent if line.startswith(" ") else ""
        found[f"{prefix}{parent}{key.strip()}"] = Described(value.strip(), description.strip())
        parent = parent if value.strip() else f"{key.strip()}."
    return found


def described_option(path: Path) -> str:
    """Return the description of an option: the first line of its file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if not line.startswith("# @package")).lstrip("# ")


def conf_dir() -> Path:
    """Return the folder of the shipped configuration: in an installed package, or next to it in a checkout."""
    package = Path(__file__).parents[1]
    return next(path for path in (package / "conf", package.parent / "conf") if path.is_dir())


def option_files(group: str, config_dir: str | None = None) -> dict[str, Path]:
    """Return the options of a group with their files, ``default`` first.

    Parameters
    ----------
    group
        Name of the group.
    config_dir
        Folder of the user's own options, whose files win over the shipped ones.
    """
    folders = [conf_dir(), *([Path(config_dir)] if config_dir else [])]
    files = {path.stem: path for folder in folders for path in sorted((folder / group).glob("*.yaml"))}
    return dict(sorted(files.items(), key=lambda item: (item[0] != "default", item[0])))


def group_keys(group: str, files: Mapping[str, Path]) -> dict[str, Described]:
    """Return the keys of all options of a group; those of the first option, ``default``, take precedence."""
    keys: dict[str, Described] = {}
    for path in files.values():
        keys = described_keys(path, f"{group}.") | keys
    return keys


def is_shipped_default(group: str, values: Mapping[str, Any]) -> bool:
    """Return whether the values of a group are those of its shipped ``default``; no YAML is parsed.

    Parameters
    ----------
    group
        Name of a group whose file has neither lists nor quoted text.
    values
        Its configuration, nested once at most.
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = value if isinstance(value, Mapping) else {"": value}
        flat |= {f"{key}.{name}" if name else str(key): each for name, each in inner.items()}
    flat.pop("_target_", None)
    words = {"None": "null", "False": "false", "True": "true"}
    found = {key: words.get(str(value), str(value)) for key, value in flat.items()}
    shipped = described_keys(conf_dir() / group / "default.yaml")
    return found == {key: each.value for key, each in shipped.items() if each.value}


def every_key() -> Iterator[tuple[str, Described]]:
    """Yield the keys of the shipped configuration, those of the top level first."""
    yield from described_keys(conf_dir() / "config.yaml").items()
    for group in GROUPS:
        yield from group_keys(group, option_files(group)).items()
