"""Answers to the scripts of the shells: ``xrdpipe --complete SHELL ... -- WORDS``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from .candidates import Candidates, candidates

OPEN = ("=", ".", "/", "[", ",")  # a word that ends like this goes on
SPECIAL = re.compile(r"([^\w@%+=:,./^-])", re.ASCII)
MOST = 2000  # paths of a folder


def answer(words: Sequence[str]) -> list[str]:
    """Return the lines that a script reads; none where anything is wrong, as nobody wants to read it at a TAB.

    Parameters
    ----------
    words
        For zsh and fish the name of the shell, ``--`` and the words of the line without the program; the last one is
        completed. The first line of the answer says "files", "folders" or "none", and how many characters stand before
        the path; each other line is a word, a tab and its meaning. For bash: its name, its characters that break words,
        the program as typed, ``--`` and the line up to the cursor. The answer are the texts that readline inserts.
    """
    with suppress(Exception):
        if words[0] == "bash":
            _, breaks, program, _, line = words
            return list(_for_bash(breaks, program, line))
        before, word = words[2:-1], words[-1]
        found = candidates(before, word)
        return [
            f"{found.paths or 'none'} {len(found.prefix)}",
            *(f"{each}\t{text}" for each, text in found.words.items()),
        ]
    return []


class Line(NamedTuple):
    """A line up to the cursor.

    Attributes
    ----------
    words
        The words before the last one, without their quotes.
    word
        The last word, without its quotes.
    quote
        The quote that is open at the cursor, or "".
    head
        Beginning of the last word that readline does not replace.
    """

    words: list[str]
    word: str
    quote: str
    head: str


def split_line(line: str, breaks: str) -> Line:
    """Split a line of bash as bash and readline do."""
    words: list[str] = []
    word, quote, head, started = "", "", "", False
    characters = iter(line)
    for each in characters:
        if quote == "'" and each != "'":
            word += each
        elif each == "\\" and (following := next(characters, "")):
            word += following if not quote or following in '"\\$`' else each + following
            started = True
        elif each == quote:
            quote = ""
        elif each in "'\"" and not quote:
            quote, started, head = each, True, word
        elif each.isspace() and not quote:
            words, word, head, started = [*words, word] if started or word else words, "", "", False
        else:
            word += each
            head = word if each in breaks and not quote else head
    return Line(words, word, quote, head)


def _for_bash(breaks: str, program: str, text: str) -> Iterator[str]:
    line = split_line(text, breaks)
    at = line.words.index(program) + 1
    found = candidates(line.words[at:], line.word)
    if line.quote:  # without words, readline completes paths itself
        special = "'" if line.quote == "'" else '"\\$`!'
        yield from (word[len(line.head) :] for word in found.words if not set(special) & set(word))
        return
    words = [*found.words, *_paths(found, line.word)]
    for word in words:
        escaped = SPECIAL.sub(lambda match: match[0] if match[0] > "~" else f"\\{match[0]}", word[len(line.head) :])
        home = escaped.startswith("\\~") and line.word.startswith("~")
        yield escaped[home:] + ("" if word.endswith(OPEN) else " ")


def _paths(found: Candidates, word: str) -> Iterator[str]:
    """Yield the paths that may replace a word."""
    if not found.paths:
        return
    folder, slash, name = word[len(found.prefix) :].rpartition("/")
    try:
        with os.scandir(os.path.expanduser(folder + slash) or ".") as entries:
            listed = sorted((each.name, each.is_dir()) for each in entries if each.name.startswith(name))
    except OSError:
        return
    shown = [each for each in listed if each[0].isprintable() and (name or not each[0].startswith("."))]
    for path, is_folder in shown[:MOST]:
        if is_folder or found.paths == "files":
            yield f"{found.prefix}{folder}{slash}{path}{'/' if is_folder else ''}"
