"""The page of `xrdpipe look` in Chromium: from a change of a control to the numbers and to the picture.

python -m benchmarks.look poni=geometry.poni background.file=air.tiff FRAME...

Every control of `CHANGES` gets its values in turn; what was changed before stays. "Shown" is when the numbers are there
(a preview or exact), "picture" when the frame has come too, "exact" when no preview is shown any more.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COMMAND = str(Path(sys.executable).with_name("xrdpipe"))
CHANGES: Sequence[tuple[str, tuple[str, ...]]] = (  # control and values that it gets
    ("key-mask.alpha", ("2.5", "4.5")),
    ("key-mask.edge", ("12", "14")),
    ("key-background.scale", ("0.9", "0.8")),
    ("key-integ.npt", ("1500", "1700")),
    ("key-integ.unit", ("2th_deg", "r_mm")),
    ("key-integ.radial_range", ("[2,10]", "[3,9]")),
    ("key-integ.azimuth_range", ("[-90,90]", "[-80,80]")),
    ("key-integ.polarization_factor", ("0.99", "0.9")),
    ("key-integ.correctSolidAngle", ("toggle", "toggle")),
    ("key-integ.error_model", ("poisson", "azimuthal")),
    ("option-integ", ("cake", "sectors")),
    ("option-mask", ("robust", "strict")),
)
BEGIN = """
const [id, value] = arguments, node = document.getElementById(id);
if (!node) return null;
const body = document.body, ready = Number(body.dataset.ready);
window.times = {start: performance.now()};
performance.clearResourceTimings();
const watch = () => {
  const busy = document.querySelector('#busy').textContent;
  if (!window.times.shown && Number(body.dataset.ready) > ready) window.times.shown = performance.now();
  if (window.times.shown && !busy.includes('…')) window.times.exact = performance.now();
  else setTimeout(watch, 5);
};
if (value === 'toggle') node.click();
else {
  const off = node.closest('.editor').querySelector('.off input');
  if (off?.checked) off.click();
  const choice = [...node.options ?? []].find((each) => each.textContent === value);
  node.value = choice?.value ?? value;
  node.dispatchEvent(new Event('input', {bubbles: true}));
  node.dispatchEvent(new Event('change', {bubbles: true}));
}
watch();
return true;
"""
PICTURE = """
const ends = performance.getEntriesByType('resource').filter((each) => each.name.includes('api/picture'))
  .filter((each) => each.startTime >= window.times.start).map((each) => each.responseEnd);
return [window.times, ends];
"""
PROBLEM = "return document.querySelector('#problem').textContent"
LONGEST = 120  # seconds of a change
EXACT = "return Boolean(window.times?.exact)"
READY = "return document.body?.dataset.ready > 0 && !document.querySelector('#busy').textContent.includes('…')"


def main() -> None:
    """Open the page over the frames of the command line, and print the times of every change."""
    from selenium import webdriver

    command = [COMMAND, "look", *sys.argv[1:], "browser=false"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found, "the page does not start"
        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which("chromium") or shutil.which("google-chrome"))
        for argument in ("headless=new", "no-sandbox", "disable-gpu", "window-size=1400,900"):
            options.add_argument(f"--{argument}")
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            driver.get(found[0])
            _wait(driver, READY)
            time.sleep(60)  # what the page makes ahead
            print(f"{'control':32s} {'value':12s} {'shown':>7s} {'picture':>8s} {'exact':>7s}  (s)")
            for control, values in CHANGES:
                for value in values:
                    print(_line(driver, control, value), flush=True)
        finally:
            driver.quit()
            server.terminate()


def _line(driver: Any, control: str, value: str) -> str:
    """Change a control, and return its times."""
    if not driver.execute_script(BEGIN, control, value):
        return f"{control:32s} is not there"
    _wait(driver, EXACT)
    time.sleep(0.3)
    times, ends = driver.execute_script(PICTURE)
    picture = max((each for each in ends if each < times["shown"] + 1000), default=times["shown"])
    seconds = [(each - times["start"]) / 1000 for each in (times["shown"], picture, times["exact"])]
    return f"{control:32s} {value:12s} {seconds[0]:7.2f} {seconds[1]:8.2f} {seconds[2]:7.2f}"


def _wait(driver: Any, condition: str) -> None:
    end = time.monotonic() + LONGEST
    while not driver.execute_script(condition):
        assert time.monotonic() < end, f"the page does not answer: {driver.execute_script(PROBLEM)}"
        time.sleep(0.05)


if __name__ == "__main__":
    main()
