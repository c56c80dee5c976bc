"""Command-line arguments as Hydra overrides. No file is read here; `io.paths.expand` expands globs and lists."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from itertools import accumulate, compress, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from argparse import Namespace

    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Override


FILE_KEYS = frozenset({"images", "background.file", "background.dark_file", "mask.file"})  # one path or a list

PATH_KEYS = FILE_KEYS | {
    "poni",
    "output_dir",
    "source.folder",
    "source.pattern",
    "correction.flat_file",
    "hydra.sweep.dir",
    "hydra.run.dir",
}

# These may name a table, see `stages.scalar_lookup`.
NUMBER_KEYS = frozenset(
    {"background.monitor", "correction.plate_transmission", "integ.monitor", "integ.exposure"}
    | {
        f"geometry.{key}"
        for key in ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength", "poni", "position")
    }
)
DEEPEST = 100  # brackets in brackets that Hydra reads, whatever room the stack has
_BRACKETS = {"[": "]", "(": ")", "{": "}"}

WORDS = re.compile(r"\s*\[\s*[\w.^*/+-]+(\s*,\s*[\w.^*/+-]+)*\s*\]\s*")  # a list as [2th_deg,q_A^-1]

# a quoted element (quotes elsewhere are ordinary characters), a bracket, a comma
_TOKEN = re.compile(
    r"""(?<![^\s,\[({:=])(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(?=\s*(?:[,\])}]|$))|[\[\](){},]""", re.DOTALL
)


class UsageError(ValueError):
    """Error in the command line; one line that names the argument."""


class Command(NamedTuple):
    """A parsed command line.

    Attributes
    ----------
    options
        Hydra's options; ``options.overrides`` has the arguments as typed.
    overrides
        The overrides in Hydra's grammar.
    images
        Bare paths in their order, as plain text; they follow those of ``images=``.
    """

    options: Namespace
    overrides: list[str]
    images: list[str]


def parse(arguments: Sequence[str]) -> Command:
    """Parse Hydra's options and the overrides, in any order; after `--`, no argument is an option.

    `--help` is a flag here. Handle `--version` before, because Hydra prints its own and exits.

    Raises
    ------
    UsageError
        If an argument is invalid.
    """
    from .hydra_internals import argument_parser

    def refuse(message: str) -> NoReturn:
        raise UsageError(message)

    parser = argument_parser()
    parser.error = refuse  # type: ignore[method-assign]
    parser.allow_abbrev = False  # `--vers` must not print Hydra's version
    known = parser._option_string_actions
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    for at, word in enumerate(words[:end]):
        following = words[at + 1] if at + 1 < end else ""
        if word in ("--info", "-i") and following not in (known["--info"].choices or ()):
            words[at] = "--info=all"  # argparse would take the next word, even an override
        elif word.startswith("-") and word not in known and os.path.lexists(word):
            words[at] = os.path.join(os.curdir, word)
    options, unknown = parser.parse_known_intermixed_args(words[:end])
    if unknown:
        nearest = get_close_matches(unknown[0].partition("=")[0], known, n=1, cutoff=0.0)[0]
        refuse(f"unknown option {unknown[0]!r}, the nearest is {nearest}; values are set with key=value, no dashes")
    if options.experimental_rerun is not None:
        refuse("--experimental-rerun loads a pickle, which can run any code: not supported")
    options.overrides += words[end + 1 :]
    multirun = options.multirun or "hydra.mode=MULTIRUN" in options.overrides
    return Command(options, *translate(options.overrides, multirun=multirun))


def translate(words: Sequence[str], *, multirun: bool = False) -> tuple[list[str], list[str]]:
    """Translate arguments to overrides in Hydra's grammar, and separate the bare paths.

    The value of a path key is text, and so is any value that the grammar cannot parse. In a multirun, commas outside
    quotes and brackets separate the values of a sweep.

    Parameters
    ----------
    words
        Arguments as typed.
    multirun
        The run is a sweep.

    Returns
    -------
    overrides : list of str
        Overrides in Hydra's grammar.
    images : list of str
        Bare paths as plain text, because Hydra needs 2 s to parse 5,000 of them.

    Raises
    ------
    UsageError
        If an argument is neither an override nor a path.
    """
    is_path = [_is_path(word) for word in words]
    overrides = [_override(word, multirun) for word, path in zip(words, is_path, strict=True) if not path]
    return overrides, list(map(_without_quotes, compress(words, is_path)))


def quoted(text: str) -> str:
    """Quote a text for Hydra's grammar, so that it arrives unchanged, `${` included."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(literal(text), Quote.single).with_quotes()


def literal(value: Any) -> Any:
    """Escape `${` in every text of plain values, so that OmegaConf interpolates nothing."""
    if isinstance(value, dict):
        return {key: literal(each) for key, each in value.items()}
    if isinstance(value, list):
        return [literal(each) for each in value]
    # backslashes count only before ${
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value


def _is_path(word: str) -> bool:
    if not word.strip():
        return False
    if "=" not in word:
        is_deletion = word.startswith("~") and word != "~" and not _exists(word) and _parse_override(word) is not None
        return not is_deletion
    folder = os.path.dirname(re.split(r"[*?[]", word, maxsplit=1)[0])
    return (
        _exists(word.removeprefix("@"))
        or word.startswith(("/", "./", "../", "~/"))
        or ("=" in folder and _exists(folder))  # T=300/*.tif
    )


def _without_quotes(path: str) -> str:
    """Return a path without the single quotes that cmd.exe passes on."""
    quotes = len(path) > 2 and path[0] == path[-1] == "'" and not _exists(path)
    return path[1:-1] if quotes else path


def _override(word: str, multirun: bool) -> str:
    name, equals, value = word.partition("=")
    parsed = _parse_override(f"{name}=0")
    if parsed is None or not parsed.key_or_group:
        raise UsageError(f"{word!r} is neither key=value nor an existing path")
    if not equals:
        return word  # ~key
    key = name.lstrip("+~")
    sweep = multirun and not parsed.is_hydra_override()  # Hydra sweeps no settings of its own
    return f"{name}={_path(key, value, sweep) if key in PATH_KEYS else _value(key, value, sweep)}"


def _value(key: str, value: str, sweep: bool) -> str:
    if _parse_override(f"{key}={value}"):
        return value
    if WORDS.fullmatch(value):
        texts = (part if _parse_override(f"{key}={part}") else quoted(part) for part in _split(value.strip()[1:-1]))
        return f"[{','.join(texts)}]"
    parts = _split(value) if sweep else []
    return ",".join(_value(key, part, False) for part in parts) if len(parts) > 1 else quoted(value)


def _path(key: str, value: str, sweep: bool) -> str:
    if value.strip().lower() in ("", "null"):
        return "null"
    if _exists(value):
        return quoted(value)
    parts = _split(value) if sweep else []
    if len(parts) > 1:
        return ",".join(_path(key, part, False) for part in parts)
    if parts and (parsed := _parse_override(f"{key}={value}")) and parsed.is_sweep_override():
        return value  # choice(...), range(...)
    if key in FILE_KEYS and _is_list(value):
        return f"[{','.join(_file(part) for part in _split(value.strip()[1:-1]))}]"
    return _file(value)


def _file(text: str) -> str:
    """Return a path as typed, with or without quotes of its own, as a quoted value."""
    if text.strip().startswith(("'", '"')) and (parsed := _parse_override(f"path={text.strip()}")):
        text = value if isinstance(value := parsed.value(), str) else text
    return quoted("./???" if text == "???" else text)  # `???` alone is OmegaConf's missing value


def _is_list(text: str) -> bool:
    """Return whether the first bracket closes at the very end: `[a,b]`, not `[0-9]_[ab]`."""
    depth, ends = 0, []
    for token in _TOKEN.finditer(text := text.strip()):
        depth += (token[0] == "[") - (token[0] == "]")
        if depth == 0:
            ends.append(token.end())
    return text.startswith("[") and ends[:1] == [len(text)]


def _split(text: str) -> list[str]:
    """Split at commas outside quotes and brackets; an unpaired bracket is an ordinary character."""
    levels: list[tuple[str, list[int]]] = [("", [])]  # per open bracket: its closing one, the commas since
    for token in _TOKEN.finditer(text):
        if token[0] in _BRACKETS:
            levels.append((_BRACKETS[token[0]], []))
        elif token[0] == levels[-1][0]:
            levels.pop()
        elif token[0] == ",":
            levels[-1][1].append(token.start())
    cuts = [-1, *sorted(at for _, commas in levels for at in commas), len(text)]
    parts = [text[before + 1 : after].strip() for before, after in pairwise(cuts)]
    if len(parts) > 1 and "" in parts:
        raise UsageError(f"nothing between two commas in {text!r}")
    return [part for part in parts if part]


def _exists(path: str) -> bool:
    try:
        return os.path.lexists(path) or os.path.lexists(os.path.expandvars(os.path.expanduser(path)))
    except ValueError:  # a NUL in a user's name
        return False


def _parse_override(text: str) -> Override | None:
    """Return Hydra's parse of an override, None if it is invalid."""
    from hydra.errors import HydraException

    if max(accumulate((mark in "[{") - (mark in "]}") for mark in text), default=0) > DEEPEST:
        return None
    try:
        return _parser().parse_override(text)
    except (HydraException, ValueError, RecursionError):  # ValueError: int() of thousands of digits
        return None


@cache
def _parser() -> OverridesParser:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create()
