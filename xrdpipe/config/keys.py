"""What a key may be, and what it does: from the schemas and the docstrings of their classes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, get_type_hints

from ..model.errors import ConfigError
from .arguments import FILE_KEYS, PATH_KEYS
from .described import GROUPS, option_files
from .loader import shipped_option
from .schema import TYPES, _dataclass_in, build
from .settings import Settings, parse_settings

NULL = " or null"
NONSENSE = "~no such value~"
PROBES: tuple[Any, ...] = (NONSENSE, -1e9, -(10**9), 10**9, [2.0, 1.0], [NONSENSE])  # wrong for nearly every key
PATHS = "a path"
FILES = "a path, a glob or a list of them"


def allowed(key: str) -> str:
    """Return which values a key may have, in words; "" if any text may be one.

    These are the words with which the schema refuses a wrong value: the key is given a few, and what is expected is
    read in the answers. So the two cannot differ.
    """
    if key in PATH_KEYS:
        return FILES if key in FILE_KEYS else PATHS
    if names := _choices(key):
        return ", ".join(names)
    answers = dict.fromkeys(_expected(key, probe) for probe in PROBES)
    texts = [text for text in answers if text and not text.startswith("no expression")]
    for text in texts:
        if names_in := re.fullmatch(r"[a-z ]+; allowed: (.*)", text):
            return names_in[1]
    types = [text for text in texts if text.removesuffix(NULL) in TYPES.values()]
    others = [text for text in texts if text not in types]
    said = "; ".join(others or [text.removesuffix(NULL) for text in types[:1]])
    nullable = any(text.endswith(NULL) for text in types) and "null" not in said
    return f"{said}, or null" if said and nullable else said


def _choices(key: str) -> list[str]:
    """Return the names that the metadata of a field lists."""
    group, _, name = key.partition(".")
    cls = _class_of(group, key) if name else None
    field = None if cls is None else cls.__dataclass_fields__.get(name)
    choices = field.metadata.get("choices", ()) if field is not None and field.type == "str" else ()
    return [str(each) for each in (choices() if callable(choices) else choices)]


def effect(key: str) -> str:
    """Return what a key does, in the words of the docstring of its class; "" if it has none."""
    group, _, rest = key.partition(".")
    cls = Settings if not rest else _class_of(group, key)
    *parents, name = rest.split(".") if rest else [group]
    for parent in parents:
        if cls is not None:
            hint = get_type_hints(cls).get(parent)
            inner = _dataclass_in(hint)
            if inner is None:
                return _attribute(cls, parent)
            cls = inner
    return _attribute(cls, name) if cls is not None else ""


def _attribute(cls: type[Any], name: str) -> str:
    """Return the text about an attribute in the docstring of a class or of its bases."""
    for each in cls.__mro__:
        section = inspect.cleandoc(each.__doc__ or "").partition("Attributes\n----------\n")[2]
        found = re.search(rf"^(?:\w+, )*{re.escape(name)}(?:, \w+)*\n((?:[ ]{{4}}.*\n?)+)", section, re.MULTILINE)
        if found:
            text = re.sub(r",? ?\(?see `[^`]*`\)?", "", " ".join(found[1].split()))
            return text.replace("``", "").replace("`", "")
    return ""


def _class_of(group: str, key: str) -> type[Any] | None:
    if group in Settings.__dataclass_fields__:
        return _dataclass_in(get_type_hints(Settings)[group])
    values = _option_with(group, key)
    try:
        return None if values is None else type(build(values, group))
    except ConfigError:
        return None


def _expected(key: str, value: Any) -> str:
    """Return what the schema expects, if it refuses a value; else ""."""
    group, _, rest = key.partition(".")
    try:
        if not rest:
            parse_settings({key: value})
        elif group in Settings.__dataclass_fields__:
            parse_settings({group: _with({}, rest, value)})
        elif (values := _option_with(group, key)) is not None:
            build(_with(values, rest, value), group)
    except ConfigError as error:
        for shown in (value, *(value if isinstance(value, list) else ())):
            about, _, text = str(error).partition(f"={shown}: ")
            if text and about in (key, rest, rest.rpartition(".")[2]):
                return re.sub(r" expected\b", "", text).rstrip(",")
    return ""


def _option_with(group: str, key: str) -> dict[str, Any] | None:
    """Return the values of the first shipped option of a group that has a key."""
    rest = key.partition(".")[2].split(".")
    for option in option_files(group) if group in GROUPS else ():
        values: Any = shipped_option(group, option)
        inner = values
        for name in rest:
            inner = inner[name] if isinstance(inner, Mapping) and name in inner else NONSENSE
        if inner != NONSENSE:
            return deepcopy(dict(values))
    return None


def _with(values: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return values with another one at a path."""
    name, _, rest = path.partition(".")
    if not rest:
        return {**values, name: value}
    inner = values.get(name)
    return {**values, name: _with(dict(inner) if isinstance(inner, Mapping) else {}, rest, value)}
