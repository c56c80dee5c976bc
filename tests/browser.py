"""A headless Chromium that opens a page from disk and keeps count of what it says and asks for."""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

LIMIT = 60  # seconds until a page must be drawn


class Browser:
    """Chromium, driven by selenium; `problems` and `requests` are of the page opened last."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, page: Path) -> None:
        """Open a file and wait until its script has drawn it."""
        from selenium.webdriver.support.wait import WebDriverWait

        self.driver.get("about:blank")
        self.problems()
        self.requests()
        self.driver.get(page.resolve().as_uri())
        WebDriverWait(self.driver, LIMIT).until(lambda _: self.run("return document.documentElement.dataset.drawn"))

    def run(self, script: str, *arguments: object) -> Any:
        """What a piece of JavaScript returns."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def texts(self, selector: str) -> list[str]:
        """The text of every element that fits."""
        found = self.run("return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector)
        return [str(text) for text in found]

    def press(self, selector: str, *keys: str) -> None:
        """Give an element the focus and press keys."""
        self.run("document.querySelector(arguments[0]).focus()", selector)
        self.driver.switch_to.active_element.send_keys(*keys)

    def hover(self, selector: str, x: float = 0, y: float = 0) -> None:
        """Move the pointer over an element; ``x`` and ``y`` are pixels from its middle."""
        from selenium.webdriver import ActionChains

        element = self.find(selector)
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        ActionChains(self.driver, duration=20).move_to_element_with_offset(element, x, y).perform()
        time.sleep(0.12)  # Plotly throttles its labels

    def double_click(self, selector: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).double_click(self.find(selector)).perform()

    def problems(self) -> list[str]:
        """What the console was told since the last call, violations of the page's own policy too."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses asked for since the last call, those inside the page (data:, blob:) aside."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith(("data:", "blob:", "about:"))]

    def screenshot(self, path: Path, width: int = 1200) -> None:
        """The whole page as PNG."""
        height = self.run("return document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        path.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self) -> bytes:
        """The page as it is printed."""
        made = self.driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True, "printBackground": False})
        return base64.b64decode(made["data"])


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser of its own, without a network but this computer; the test skips where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    program, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no chromium and chromedriver here (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        "headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "window-size=1200,900", "lang=en",
        "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "no-first-run", "disable-background-networking",
        "disable-extensions",
    ):  # fmt: skip
        options.add_argument(f"--{argument}")
    options.add_experimental_option("perfLoggingPrefs", {"enablePage": False})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield Browser(started)
    finally:
        started.quit()
