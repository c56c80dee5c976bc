"""Every block of code of every page runs, and prints what the page shows."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if not path.relative_to(DOCS).parts[0].startswith("_"))
LANGUAGES = {"sh", "python", "text", "yaml", "toml", "json", "empty folder"}
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
PICTURE = re.compile(r"!\[(?P<says>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def name(page: Path) -> str:
    return str(page.relative_to(DOCS))


def all_blocks(blocks: ModuleType) -> list[tuple[str, Any]]:
    """The blocks of all pages, each with the name of its page."""
    return [(name(page), block) for page in PAGES for block in blocks.read(page)]


def test_every_block_is_run_or_says_why_not(blocks: ModuleType) -> None:
    for page, block in all_blocks(blocks):
        if not block.language.startswith("{"):  # a directive
            assert block.language in LANGUAGES, f"{page}:{block.line}: a block of {block.language or 'no language'}"
        if block.language in ("yaml", "toml", "json"):
            assert block.comments, f"{page}:{block.line}: no comment says whether it is a file, or why not"
        if "not run" in block.comments:
            assert len(block.comments["not run"]) > 10, f"{page}:{block.line}: no reason"


def test_a_part_of_a_file_of_the_repository_is_in_it(blocks: ModuleType) -> None:
    for page, block in all_blocks(blocks):
        if file := block.comments.get("part of"):
            there = iter(line.strip() for line in (ROOT / file).read_text(encoding="utf-8").splitlines())
            for line in filter(None, map(str.strip, block.text.splitlines())):
                assert line in there, f"{page}:{block.line}: {file} does not have, in this order: {line}"


def test_links_lead_to_pages_and_pictures_have_a_description() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for link in LINK.finditer(text):
            address = urlsplit(link["target"])
            if address.scheme:
                assert address.scheme in ("https", "http"), link[0]
                assert "." in address.netloc, link[0]
            elif address.path:
                assert (page.parent / address.path).exists(), f"{page}: {link[0]}"
        for picture in PICTURE.finditer(text):
            assert picture["says"], f"{page}: {picture[0]}"
            generated = picture["target"].startswith("_generated/")
            assert generated or (page.parent / picture["target"]).exists(), f"{page}: {picture[0]}"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the blocks are typed into bash")
@pytest.mark.filterwarnings("default")  # what a reader's Python would do
@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_blocks_of_a_page_run_one_after_the_other(
    page: Path, blocks: ModuleType, tmp_path: Path, request: pytest.FixtureRequest, programs: Path | None
) -> None:
    read = blocks.read(page)
    if not any(block.runs for block in read):
        return
    folder = tmp_path / "here"
    if any(block.language == "empty folder" for block in read):
        folder.mkdir()
    else:
        whole = any(block.output is not None or re.search("2048|[Ss]imulation|demo", block.text) for block in read)
        shutil.copytree(request.getfixturevalue("demo_files" if whole else "small_files"), folder)
    names: dict[str, Any] = {}
    for block in read:
        blocks.run(block, folder, names, None if page.stem == "start" else programs)  # one with the installed command
    if page.stem == "gallery":
        for picture in PICTURE.finditer(page.read_text(encoding="utf-8")):
            assert (folder / picture["target"].removeprefix("_generated/gallery/")).is_file(), picture[0]


OUTPUTS = [  # shown, printed, whether they agree
    ("image seconds\na.tif 1.04", "image seconds\na.tif 27.5  ", True),
    ("2 of 2 done", "1 of 2 done", False),
    ("first\n...\nlast", "first\nanything\nat all\nlast\n", True),
    ("first\n...\nlast", "first\nanything\nelse\n", False),
    ("first\n...\nlast", "before\nfirst\nlast", False),
    ("...\nlast", "first\nlast", True),
    ("first\n...", "first\nlast", True),
    ("first\n...\nmiddle\n...", "first\nlast", False),
    ("q 3.09", "q 3.11", True),
    ("q 3.09", "q 3.90", False),
    ("peak", "peak\nand more", False),
]


def test_an_output_is_compared_without_times_and_last_digits(blocks: ModuleType) -> None:
    for shown, printed, same in OUTPUTS:
        assert blocks.matches(shown, printed) == same, (shown, printed)
