"""What may follow on a command line: commands, options, groups, keys, values and paths."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from ...config.arguments import NUMBER_KEYS, PATH_KEYS
from ...config.described import GROUPS, conf_dir, described_keys, described_option, group_keys, option_files
from ..help import CALIBRATE
from . import values as known

NO_GROUPS = ("hydra", "local")
BOOLEAN = ("true", "false")
OTHERS = ("experiment",)  # groups without keys of their own


class Candidates(NamedTuple):
    """What may replace a word.

    Attributes
    ----------
    words
        Whole words -> their meaning.
    paths
        Paths may follow too: "files", "folders" or "".
    prefix
        Beginning of the word that is no part of the path, as in ``mask.file=``.
    """

    words: Mapping[str, str]
    paths: str = ""
    prefix: str = ""


def candidates(words: Sequence[str], word: str) -> Candidates:
    """Return what may replace a word.

    Parameters
    ----------
    words
        The words before it, without the name of the program.
    word
        The word up to the cursor.
    """
    command = words[0] if words and words[0] in known.COMMANDS else ""
    previous = words[-1] if words else ""
    if "--" in words:
        return Candidates({}, "files")
    if previous in known.AFTER:
        return Candidates(_starting(dict.fromkeys(known.AFTER[previous], ""), word))
    if previous in ("--config-dir", "-cd"):
        return Candidates({}, "folders")
    own = _config_dir(words)
    if previous in ("--config-name", "-cn"):
        return Candidates(_starting(dict.fromkeys(_names(own), ""), word))
    if word.startswith("--config-dir="):
        return Candidates({}, "folders", "--config-dir=")
    if word.startswith("-"):
        return Candidates(_starting(known.OPTIONS, word))
    found = _values(command, words, word, own) if "=" in word else _first_words(command, words, word, own)
    return found._replace(words=_starting(found.words, word))


def _starting(words: Mapping[str, str], start: str) -> dict[str, str]:
    return {word: text for word, text in words.items() if word.startswith(start) and word.isprintable()}


def _first_words(command: str, words: Sequence[str], word: str, own: str | None) -> Candidates:
    """Return words without a value: commands, groups and keys; files are bare words too."""
    found: dict[str, str] = dict(known.COMMANDS) if not words else {}
    if command in known.WORDS:
        if len(words) == 1:
            return Candidates(dict.fromkeys(known.WORDS[command], ""))
        return Candidates({f"{key}=": text for key, text in known.KEYS.get(command, {}).items()})
    found |= {f"{key}=": text for key, text in _command_keys(command).items()}
    if command in known.OF_A_RUN:
        bare = command == "config" and len(words) == 1  # the name of a key
        found |= _groups_and_keys(words, word, own, "" if bare else "=")
        if bare:
            return Candidates(found)
    folder = command in ("replay", "report")
    return Candidates(found, "folders" if folder else "files")


def _groups_and_keys(words: Sequence[str], word: str, own: str | None, end: str) -> dict[str, str]:
    sign = "+" * (len(word) - len(word.lstrip("+")))
    name = word.lstrip("+~")
    groups = _groups(own)
    if "." not in name:
        top = {f"{sign}{key}{end}": text for key, (_, text) in described_keys(conf_dir() / "config.yaml").items()}
        whole = {f"{sign}{group}{end}": "option of the group" for group in groups}
        inside = {f"{sign}{group}.": "keys of the group" for group in groups if group not in OTHERS}
        return top | whole | inside
    group = name.partition(".")[0]
    return {f"{sign}{key}{end}": text for key, (_, text) in _keys(group, words, own).items()}


def _keys(group: str, words: Sequence[str], own: str | None) -> dict[str, tuple[str, str]]:
    """Return the keys of the option that is chosen; of all options where a file may choose another."""
    files = option_files(group, own)
    chosen = [word.partition("=")[2] for word in words if word.startswith(f"{group}=")]
    open_choice = own or any(word.startswith("experiment=") for word in words)
    option = chosen[-1] if chosen else "default"
    if option in files and not (open_choice and not chosen):
        shipped = option_files(group).get(option) or option_files(group).get("default")
        keys = described_keys(files[option], f"{group}.")  # an option of one's own may leave keys out
        found = keys if files[option] == shipped or shipped is None else described_keys(shipped, f"{group}.") | keys
    else:
        found = group_keys(group, files)
    parents = {key.rpartition(".")[0] for key in found}
    return {key: (each.value, each.text) for key, each in found.items() if key not in parents}


def _values(command: str, words: Sequence[str], word: str, own: str | None) -> Candidates:
    """Return values of the key before the equals sign."""
    name, _, value = word.partition("=")
    key = name.lstrip("+~")
    if not re.fullmatch(r"[\w.]+(/\w+)?", key) or ("/" in value and os.path.isdir(os.path.dirname(word))):
        return Candidates({}, "files")  # a path with an equals sign
    kind = _paths(command, key)
    if kind:
        cut = max(value.rfind("["), value.rfind(",")) + 1 if kind == "files" and value.startswith("[") else 0
        return Candidates(_listed(f"{name}=", value, _choices(command, key, words, own)), kind, f"{name}={value[:cut]}")
    return Candidates(_listed(f"{name}=", value, _choices(command, key, words, own), key in known.LISTS))


def _listed(start: str, value: str, choices: Mapping[str, str], is_list: bool = False) -> dict[str, str]:
    """Return the words with each value; of a list, or of values of a sweep, with those before."""
    if is_list and not value:
        return {f"{start}[{each}]": text for each, text in choices.items()}
    cut = max(value.rfind("["), value.rfind(",")) + 1
    if any(each.startswith(value) for each in choices):
        cut = 0
    return {f"{start}{value[:cut]}{each}": text for each, text in choices.items()}


def _choices(command: str, key: str, words: Sequence[str], own: str | None) -> dict[str, str]:
    """Return the values that a key or group can have -> their meaning; none if there is no fixed set."""
    if key in _groups(own) and not (command == "mask" and key == "save"):
        return {option: described_option(path) for option, path in option_files(key, own).items()}
    for fixed in (known.VALUES, known.LISTS):
        if key in fixed:
            return dict.fromkeys(fixed[key], "")
    if command == "calibrate" and key in ("calibrant", "detector"):
        return dict.fromkeys(_calibrants() if key == "calibrant" else _detectors(), "")
    top = described_keys(conf_dir() / "config.yaml")
    value = ({**top, **_keys(key.partition(".")[0], words, own)}.get(key) or ("", ""))[0]
    return dict.fromkeys(BOOLEAN, "") if value in BOOLEAN or key in known.SWITCHES else {}


def _paths(command: str, key: str) -> str:
    """Return the kind of paths that are values of a key: "files", "folders" or ""."""
    if key in known.FOLDERS or f"{command} {key}" in known.FOLDERS:
        return "folders"
    return "files" if key in PATH_KEYS | NUMBER_KEYS or key in known.FILES else ""


def _command_keys(command: str) -> dict[str, str]:
    if command == "calibrate":
        section = CALIBRATE.partition("\nKEYS\n")[2].partition("\n\n")[0]
        return dict(re.findall(r"^  ([a-z]+) {2,}(.*)$", section, re.MULTILINE))
    return known.KEYS.get(command, {})


def _config_dir(words: Sequence[str]) -> str | None:
    """Return the folder of ``--config-dir``."""
    following = [after for word, after in pairwise(words) if word in ("--config-dir", "-cd")]
    joined = [word.partition("=")[2] for word in words if word.startswith("--config-dir=")]
    named = [*following, *joined]
    return named[-1] if named and Path(named[-1]).is_dir() else None


def _groups(own: str | None) -> list[str]:
    folders = [path.name for path in sorted(Path(own).iterdir()) if path.is_dir()] if own else []
    return list(dict.fromkeys([*GROUPS, *OTHERS, *(name for name in folders if name not in NO_GROUPS)]))


def _names(own: str | None) -> Iterable[str]:
    return ["config", *(path.stem for path in sorted(Path(own).glob("*.yaml")))] if own else ["config"]


def _calibrants() -> list[str]:
    """Return pyFAI's calibrants, without an import of pyFAI."""
    return [path.stem for path in sorted(_pyfai().glob("resources/calibration/*.D"))]


def _detectors() -> list[str]:
    """Return the names of pyFAI's detectors, without an import of pyFAI."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(_pyfai().glob("detectors/_*.py"))]
    return sorted({name for text in texts for name in re.findall(r"^class ([A-Za-z]\w*)\(", text, re.MULTILINE)})


def _pyfai() -> Path:
    spec = find_spec("pyFAI")
    return Path(spec.origin).parent if spec and spec.origin else Path(".nowhere")
