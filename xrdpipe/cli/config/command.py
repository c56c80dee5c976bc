"""``xrdpipe config``: the groups at a glance, one of them, a key, a search, or what the words of a run change."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...config.described import GROUPS, conf_dir, described_keys, described_option, option_files
from ...model.errors import ConfigError
from ..text import printable, wrapped
from .explain import EXPERIMENT, closest, explain, find, group_summary, known_keys, known_options

SHOWN = (EXPERIMENT, *GROUPS)
USAGE = "xrdpipe config [KEY, GROUP or WORD...] [words of a run]"


def main(arguments: Sequence[str], document: dict[str, Any] | None = None) -> int:
    """Run ``xrdpipe config [KEY | GROUP | WORD...] [words of a run]``; return 0."""
    said = _said(arguments)
    if document is not None:
        document |= said
    else:
        print(printable("\n".join(_lines(said))))
    return 0


def _said(arguments: Sequence[str]) -> dict[str, Any]:
    """Return what the command says, as plain values.

    Raises
    ------
    ConfigError
        Nothing has such a name, or the words of a run do not compose.
    """
    terms, words = _split(arguments)
    config_dir = _config_dir(words)
    keys = known_keys(config_dir)
    if not terms:
        return {"changed": _changed(words)} if words else {"groups": _overview(config_dir)}
    name = terms[0].lstrip("+").rstrip(".=")
    if len(terms) == 1 and name in keys and name not in GROUPS:
        found = explain(name, keys[name], config_dir)
        return found | _composed(name, words)
    if len(terms) == 1 and name in SHOWN:
        return group_summary(name, config_dir)
    texts = {key: each.text for key, each in keys.items()}
    hits, near = find([name, *terms[1:]], texts | known_options(config_dir)), closest(name, keys)
    if not hits and not near:
        looked_for = printable(" and ".join(terms))
        raise ConfigError(f"config: no key has {looked_for} in its name or meaning; xrdpipe config GROUP lists all")
    described = {key: keys[key]._asdict() if key in keys else {"value": "", "text": text} for key, text in hits.items()}
    return {"search": " ".join(terms), "near": [key for key in near if key not in hits], "keys": described}


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names and words to look for, which come first, and the words of a run."""
    count = 0
    for word in arguments:
        known = word in SHOWN or ("." in word and word.partition(".")[0] in GROUPS and "/" not in word)
        if "=" in word or word.startswith(("-", "@", "~")) or (os.path.lexists(word) and not known):
            break
        count += 1
    return list(arguments[:count]), list(arguments[count:])


def _config_dir(words: Sequence[str]) -> str | None:
    from ...config.arguments import parse

    directory = parse(words).options.config_dir if any(word.startswith("-") for word in words) else None
    if directory is not None and not os.path.isdir(directory):
        raise ConfigError(f"--config-dir {directory}: no such folder; one with options, mask/mine.yaml, expected")
    return directory


def _trace(words: Sequence[str]) -> tuple[dict[str, Any], Any]:
    from ...config.arguments import parse
    from ...config.config_provenance import trace_config
    from ...config.loader import force_overrides

    command = parse(words)
    overrides, options = force_overrides(command.overrides), command.options
    if options.multirun:
        raise ConfigError("config: shows one configuration, so no sweep; leave out -m")
    name = options.config_name or "config"
    return trace_config(options.config_dir, overrides, name, images=command.images)


def _composed(key: str, words: Sequence[str]) -> dict[str, Any]:
    """Return the value of a key in the configuration of a run, and the places that set it, the last one last."""
    values, loader = _trace(words)
    value: Any = values
    for name in key.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return {"value": None, "set": [], "absent": True}
        value = value[name]
    return {"value": value, "set": [each._asdict() for each in loader.history.get(tuple(key.split(".")), [])]}


def _changed(words: Sequence[str]) -> dict[str, Any]:
    """Return the keys that the words of a run change, with their values before and after, and where they are set."""
    (before, _), (after, loader) = _trace([]), _trace(words)
    found = {}
    for key, value in _leaves(after):
        old = _at(before, key)
        if value != old and "_target_" not in key:
            last = loader.history.get(key, [])[-1:]
            where = last[0]._asdict() if last else {"place": "", "line": 0}
            found[".".join(key)] = {"default": old, "value": value, "place": where["place"], "line": where["line"]}
    return found


def _leaves(values: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(values, Mapping) and values:
        for key, value in values.items():
            yield from _leaves(value, (*at, str(key)))
    else:
        yield at, values


def _at(values: Any, key: Sequence[str]) -> Any:
    for name in key:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def _overview(config_dir: str | None) -> dict[str, Any]:
    top = {key: each.text for key, each in described_keys(conf_dir() / "config.yaml").items()}
    groups = {group: option_files(group, config_dir) for group in SHOWN}
    return {
        "top level": top,
        **{
            group: {option: described_option(path) for option, path in files.items()} for group, files in groups.items()
        },
    }


def _lines(said: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text of a document."""
    if "groups" in said:
        for group, options in said["groups"].items():
            yield group.upper() if group == "top level" else group
            sign = "" if group == "top level" else f"{group}="
            yield from (wrapped(f"  {f'{sign}{option}':<24} ", text) for option, text in options.items())
        yield "\nnext: xrdpipe config GROUP (its keys), KEY (what it does), or any word to search for"
    elif "changed" in said:
        yield from _changed_lines(said["changed"])
    elif "search" in said:
        yield f"no key is called {said['search']!r}" + (
            f"; did you mean {' or '.join(said['near'])}?" * bool(said["near"])
        )
        if said["keys"]:
            yield "in their name or meaning have it:"
        yield from _key_lines(said["keys"])
    elif "group" in said:
        group = said["group"]
        yield from (wrapped(f"  {f'{group}={option}':<28} ", text) for option, text in said["options"].items())
        yield from _key_lines(said["keys"])
        yield f"see {said['page']}" + f", picture {said['picture']}" * bool(said["picture"])
    else:
        yield from _explained_lines(said)


def _key_lines(keys: Mapping[str, Any]) -> Iterator[str]:
    for key, each in keys.items():
        default = f" ({each['value']})" if each["value"] else ""
        yield wrapped(f"  {key:<28} ", f"{each['text']}{default}")


def _changed_lines(changed: Mapping[str, Any]) -> Iterator[str]:
    if not changed:
        yield "nothing differs from the defaults"
    for key, each in changed.items():
        where = f"{each['place']}, line {each['line']}" if each["line"] else each["place"]
        yield wrapped(f"  {key:<28} ", f"{_shown(each['value'])} (default {_shown(each['default'])}; {where})")


def _explained_lines(said: Mapping[str, Any]) -> Iterator[str]:
    yield wrapped(f"{said['key']}: ", said["meaning"])
    rows = {"default": said["default"] + (f"  (with {said['with']})" if "with" in said else "")}
    rows["options"] = ", ".join(f"{option} {value}" for option, value in said["options"].items())
    rows |= {"allowed": said["allowed"], "effect": said["effect"]}
    if said.get("absent"):
        rows["value"] = (
            f"not in this configuration; say {said['with']}" if "with" in said else "not in this configuration"
        )
    else:
        rows["value"] = _shown(said["value"])
        places = [f"{each['place']}, line {each['line']}" if each["line"] else each["place"] for each in said["set"]]
        values = [_shown(each["value"]) for each in said["set"]]
        rows["set in"] = "; then ".join(f"{place}: {value}" for place, value in zip(places, values, strict=True))
    rows["see"] = said["page"] + (f", picture {said['picture']}" if said["picture"] else "")
    yield from (wrapped(f"  {name:<9} ", text) for name, text in rows.items() if text)


def _shown(value: Any) -> str:
    from ...config.config_provenance import yaml_text

    return yaml_text(value)
