"""What is known about a key, and the search for keys."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from ...config.described import (
    GROUPS,
    Described,
    conf_dir,
    described_keys,
    described_option,
    group_keys,
    option_files,
)
from .pages import page_of

EXPERIMENT = "experiment"
SHORTEST = 4  # letters of a part of a name that is looked for in a word, as thresh in threshold


def known_keys(config_dir: str | None) -> dict[str, Described]:
    """Return all keys with their default and meaning, those of the user's own options too."""
    keys = described_keys(conf_dir() / "config.yaml")
    for group in GROUPS:
        keys |= group_keys(group, option_files(group, config_dir))
    return keys


def find(terms: Sequence[str], keys: Mapping[str, str]) -> dict[str, str]:
    """Return the names that have every term in themselves or in their meaning, name -> meaning; the former first."""
    hits = {name: text for name, text in keys.items() if all(_has(term, name, text) for term in terms)}
    return dict(sorted(hits.items(), key=lambda item: not all(_has(term, item[0], "") for term in terms)))


def _has(term: str, name: str, text: str) -> bool:
    term, name = term.casefold(), name.casefold()
    if term in name or re.search(rf"\b{re.escape(term)}", text.casefold()):
        return True
    parts = [] if "." in term else re.split(r"[._=]", name)
    return any(term.startswith(part) for part in parts if len(part) >= SHORTEST)


def closest(term: str, keys: Mapping[str, Described]) -> list[str]:
    """Return the keys and groups whose name, or its last part, is nearly the term."""
    last = {key.rpartition(".")[2]: key for key in reversed(list(keys))}
    names = last | {name: name for name in (*GROUPS, *keys)}
    found = [names[each] for each in get_close_matches(term, names, 3, 0.7)]
    return list(dict.fromkeys(found))


def known_options(config_dir: str | None) -> dict[str, str]:
    """Return all options with their descriptions, ``mask=strict`` -> text."""
    groups = {group: option_files(group, config_dir) for group in (EXPERIMENT, *GROUPS)}
    return {
        f"{group}={option}": described_option(path) for group, files in groups.items() for option, path in files.items()
    }


def explain(key: str, described: Described, config_dir: str | None) -> dict[str, Any]:
    """Return what is known about a key without a configuration: meaning, default, options, allowed values, pages."""
    from ...config.keys import allowed, effect

    page, picture = page_of(key)
    group = key.partition(".")[0]
    found = {
        "key": key,
        "meaning": described.text,
        "default": described.value,
        "options": {},
        "allowed": allowed(key),
        "effect": effect(key),
        "page": page,
        "picture": picture,
    }
    if "." not in key:
        return found
    files = option_files(group, config_dir)
    values = {option: described_keys(path, f"{group}.").get(key) for option, path in files.items()}
    first = next((option for option, each in values.items() if each), "default")
    others = {option: each.value for option, each in values.items() if each and each.value != described.value}
    where = {} if first == "default" else {"with": f"{group}={first}"}
    return {**found, **where, "options": others}


def group_summary(group: str, config_dir: str | None) -> dict[str, Any]:
    """Return the options and keys of a group."""
    files, (page, picture) = option_files(group, config_dir), page_of(group)
    return {
        "group": group,
        "options": {option: described_option(path) for option, path in files.items()},
        "keys": {key: each._asdict() for key, each in group_keys(group, files).items()} if group in GROUPS else {},
        "page": page,
        "picture": picture,
    }
