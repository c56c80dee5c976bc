"""The site that Sphinx makes from the pages: it builds without a warning, and is read without a network."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from browser import chromium

import xrdpipe
from xrdpipe.cli.help import help_text

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("index", "start", "howto/temperature_series", "keys", "gallery", "api", "messages", "search")


@pytest.mark.slow
def test_every_key_of_the_manual_page_is_in_the_reference(keys: ModuleType) -> None:
    page = keys.page()
    manual = set(re.findall(r"^  ([a-z][\w.]*) {2,}\S", help_text(), re.MULTILINE))
    keys_of_groups = {name for name in manual if "." in name}
    assert len(keys_of_groups) > 80
    assert not [name for name in keys_of_groups if f"[`{name}`]" not in page]
    assert ": an outlier is more standard deviations from its ring; null: no outliers *(a number \\> 0, or null" in page


@pytest.mark.slow
def test_the_reference_lists_messages_as_users_read_them(messages: ModuleType) -> None:
    page = messages.page()
    assert "`` alpha=...: a number > 0 expected, or null for no outliers ``" in page
    assert "`` ...: no such key; ... ``" in page


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with warnings as errors."""
    pytest.importorskip("sphinx", reason="Sphinx is not installed (pip install '.[docs]')")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(DOCS), str(out)]
    built = subprocess.run(command, capture_output=True, text=True, check=False, cwd=DOCS.parent)
    assert built.returncode == 0, built.stderr
    return out


@pytest.mark.slow
def test_every_public_name_is_in_the_python_reference(site: Path) -> None:
    page = (site / "api.html").read_text(encoding="utf-8")
    for name in xrdpipe.__all__:
        assert name.startswith("_") or f'id="xrdpipe.{name}"' in page, name


@pytest.mark.slow
def test_a_key_can_be_linked_to(site: Path) -> None:
    page = (site / "keys.html").read_text(encoding="utf-8")
    assert 'id="mask-alpha"' in page
    assert "]{" not in page


@pytest.mark.slow
@pytest.mark.parametrize("width", [1400, 420])
def test_the_site_is_read_from_disk_without_a_network(site: Path, width: int) -> None:
    with chromium() as browser:
        size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for page in PAGES:
            browser.driver.get(f"{(site / page).as_uri()}.html")
            assert browser.run("return document.documentElement.scrollWidth") <= width, page
            assert not browser.run("return [...document.images].filter(i => !i.naturalWidth).map(i => i.src)"), page
        assert not [each for each in browser.problems() if "[PST]" not in each]  # the theme says what it did
        assert not [each for each in browser.requests() if not each.startswith("file:")]


@pytest.mark.slow
def test_search_finds_a_key_from_disk(site: Path) -> None:
    with chromium() as browser:
        browser.driver.get(f"{(site / 'search').as_uri()}.html?q=mask.alpha")
        end = time.monotonic() + 30
        while not (found := browser.texts("#search-results li a")):
            assert time.monotonic() < end
            time.sleep(0.1)
        assert "Keys" in found
        assert not [each for each in browser.problems() if "[PST]" not in each]
