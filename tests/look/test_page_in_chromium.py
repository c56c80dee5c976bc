"""What a user does in the page, in a real browser with a server of its own."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Browser, chromium
from command import LIMIT, SCRIPT, xrdpipe
from look_page import Page, served

from xrdpipe.io.formats import chi_text
from xrdpipe.model.pattern import Pattern

pytestmark = pytest.mark.slow

HOSTILE = "<img src=x onerror=window.ran=1>.tif"
EXACT = "document.body?.dataset.ready > 0 && !document.querySelector('#busy').textContent.includes('…')"  # no preview
FRAMES = ("data/ni_1.tiff", "data/ni_2.tiff", f"data/{HOSTILE}")


class Tab:
    """A tab of the page."""

    def __init__(self, browser: Browser, page: Page) -> None:
        self.browser, self.page = browser, page
        browser.driver.get("about:blank")
        browser.problems()
        browser.driver.get(f"http://127.0.0.1:{page.port}/?token={page.token}")
        self.wait(EXACT)

    def wait(self, condition: str) -> None:
        """Wait until a condition of JavaScript holds."""
        end = time.monotonic() + LIMIT
        while not self.browser.run(f"return Boolean({condition})"):
            assert time.monotonic() < end, (condition, self.browser.problems())
            time.sleep(0.02)

    def after(self, action: Callable[[], object]) -> None:
        """Do something, and wait until the view that it asks for has been answered."""
        before = int(self.browser.run("return document.body.dataset.ready"))
        action()
        self.wait(f"document.body.dataset.ready > {before} && {EXACT}")

    def reload(self) -> None:
        self.browser.driver.refresh()
        self.wait(EXACT)

    def text(self, selector: str) -> str:
        return self.browser.texts(selector)[0]

    def click(self, selector: str) -> None:
        self.browser.find(selector).click()

    def select(self, selector: str, text: str) -> None:
        from selenium.webdriver.support.ui import Select

        Select(self.browser.find(selector)).select_by_visible_text(text)

    def type(self, selector: str, text: str) -> None:
        from selenium.webdriver import Keys

        self.browser.find(selector).send_keys(Keys.CONTROL, "a")
        self.browser.find(selector).send_keys(text)

    def drag(self, *places: tuple[int, int]) -> None:
        """Drag over the canvas; places are screen pixels right of and below its middle."""
        from selenium.webdriver import ActionChains

        canvas, actions = self.browser.find("#canvas"), ActionChains(self.browser.driver, duration=20)
        actions.move_to_element_with_offset(canvas, *places[0]).click_and_hold()
        for place in places[1:]:
            actions.move_to_element_with_offset(canvas, *place)
        actions.release().perform()

    def corners(self, *places: tuple[int, int]) -> None:
        from selenium.webdriver import ActionChains

        canvas, actions = self.browser.find("#canvas"), ActionChains(self.browser.driver, duration=20)
        for place in places:
            actions.move_to_element_with_offset(canvas, *place).click()
        actions.perform()

    @property
    def name(self) -> str:
        """The name under which the program knows it."""
        return str(self.browser.run("return sessionStorage.getItem('xrdpipe look: tab')"))

    @property
    def command(self) -> str:
        return self.text("#command")

    def pattern(self, number: int = 0) -> tuple[list[float], list[float]]:
        """The axes of a line of the chart."""
        x, y = self.browser.run(
            "const {x, y} = document.querySelector('#chart').data[arguments[0]]; return [x, y]", number
        )
        return x, y

    @property
    def drawn(self) -> int:
        """Pixels that the drawn mask masks."""
        rows = self.browser.run(
            "return [...document.querySelectorAll('#legend tr')].map(e => [e.textContent, e.title])"
        )
        return next((int(title.split()[0]) for text, title in rows if text.startswith("user")), 0)


def key(name: str) -> str:
    return f'[id="key-{name}"]'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def folder(measured: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The frames of these tests, one of which has a name that is markup."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(measured / "data", folder / "data")
    shutil.copy(folder / "data" / "ni_1.tiff", folder / "data" / HOSTILE)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[Page]:
    words = (
        "poni=data/tiny.poni",
        *FRAMES,
        "background.file=data/air.tiff",
        "integ.npt=100",
        "mask.edge=3",
        "stay=true",
    )
    with served(folder, *words) as page:
        yield page


@pytest.fixture
def tab(browser: Browser, page: Page) -> Iterator[Tab]:
    """A new tab, whose console stays empty."""
    first = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    tab = Tab(browser, page)
    name = tab.name
    yield tab
    assert browser.problems() == []
    page.post("/api/keep", {"tab": name, "view": {}, "unsaved": False})  # the next test begins without its shapes
    for handle in browser.driver.window_handles:
        if handle != first:
            browser.driver.switch_to.window(handle)
            browser.driver.close()
    browser.driver.switch_to.window(first)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("mask.alpha", "4.5", "mask.alpha=4.5"),
        ("integ.npt", "50", "integ.npt=50"),
        ("background.scale", "0.5", "background.scale=0.5"),
        ("integ.radial_range", "1, 4", "integ.radial_range=[1,4]"),
    ],
)
def test_a_typed_number_text_and_list_change_the_command_line_and_the_pattern(
    tab: Tab, name: str, text: str, expected: str
) -> None:
    before, off = tab.pattern(), f'[aria-label="{name}: off"]'
    if tab.browser.all(off) and tab.browser.find(off).is_selected():
        tab.click(off)
    tab.after(lambda: tab.type(key(name), text))
    assert expected in shlex.split(tab.command.replace("'", ""))
    assert tab.pattern() != before
    assert tab.browser.all(f'[data-key="{name}"].changed')
    tab.after(lambda: tab.click(f'[data-key="{name}"] .reset'))
    assert expected not in tab.command
    assert tab.pattern() == before
    assert not tab.browser.all(".key.changed")


def test_ticks_choices_off_and_options_change_the_command_line_and_the_pattern(tab: Tab) -> None:
    seen = [tab.pattern()]
    for action, expected in (
        (lambda: tab.click(key("integ.correctSolidAngle")), "integ.correctSolidAngle=true"),
        (lambda: tab.select(key("mask.auto_type"), "mean"), "mask.auto_type=mean"),
        (lambda: tab.click('[aria-label="mask.alpha: off"]'), "mask.alpha=null"),
        (lambda: tab.select("#option-mask", "strict"), "mask=strict"),
    ):
        tab.after(action)
        assert expected in tab.command
        assert tab.pattern() not in seen
        seen.append(tab.pattern())
    assert "auto_type" not in tab.command  # another option begins afresh
    assert tab.text("#group-mask small") == "1 changed"


def test_every_shape_masks_pixels_and_undo_brings_them_back(tab: Tab) -> None:
    counts = [tab.drawn]

    def draw(tool: str, action: Callable[[], object]) -> None:
        tab.click(f"[data-tool={tool}]")
        tab.after(action)
        counts.append(tab.drawn)

    draw("rectangle", lambda: tab.drag((-90, -90), (-60, -70)))
    draw("circle", lambda: tab.drag((70, -70), (80, -60)))
    draw("ring", lambda: tab.drag((0, 60), (0, 75)))
    tab.click("[data-tool=brush]")
    tab.type("#radius", "2")
    draw("brush", lambda: tab.drag((-90, 60), (-70, 80), (-60, 90)))
    draw("polygon", lambda: (tab.corners((60, 90), (90, 90), (75, 70)), tab.browser.press("#canvas", "\ue007")))
    tab.click("[data-tool=threshold]")
    tab.type("#above", "500")
    draw("threshold", lambda: tab.click("#everywhere"))
    assert counts == sorted(set(counts))
    assert len(tab.browser.all("#shapes li")) == 6
    assert "mask.file=look/drawn.npy" in tab.command
    for count in counts[-2::-1]:
        tab.after(lambda: tab.browser.press("#canvas", "\ue009z"))  # Ctrl
        assert tab.drawn == count
    assert "mask.file" not in tab.command
    tab.after(lambda: tab.click("#redo"))
    assert tab.drawn == counts[1]


def test_shapes_are_taken_out_deleted_cleared_and_given_up(tab: Tab) -> None:
    tab.click("[data-tool=rectangle]")
    tab.after(lambda: tab.drag((-60, -60), (60, 60)))
    whole = tab.drawn
    tab.click("#take")
    tab.after(lambda: tab.drag((-20, -20), (20, 20)))
    assert 0 < tab.drawn < whole
    assert tab.text("#shapes li:last-child span") == "Rectangle: taken out"
    tab.after(lambda: tab.click("#shapes li:last-child button"))
    assert tab.drawn == whole
    tab.click("[data-tool=polygon]")
    tab.corners((0, 0), (30, 0), (30, 30))
    tab.browser.press("#canvas", "\ue00c")  # Escape
    tab.browser.press("#canvas", "\ue007")  # Enter closes nothing
    assert len(tab.browser.all("#shapes li")) == 1
    tab.after(lambda: tab.click("#clear"))
    assert tab.drawn == 0


def test_a_saved_experiment_runs_with_the_installed_command_to_the_bytes_of_the_view(tab: Tab, folder: Path) -> None:
    tab.after(lambda: tab.type(key("mask.alpha"), "3"))
    tab.click("[data-tool=circle]")
    tab.after(lambda: tab.drag((60, 60), (80, 70)))
    x, y = tab.pattern()
    tab.click("#save")
    tab.type("#save-name", "mine")
    tab.after(lambda: tab.click("#save-now"))
    assert tab.browser.texts("#written li") == ["mine.npy", "experiment/mine.yaml"]
    assert tab.text("#next-command") == "xrdpipe --config-dir look experiment=mine"
    tab.click("dialog [value=close]")
    assert "mask.file=look/mine.npy" in tab.command
    assert tab.text("#notes") == "Saved: mine.npy, experiment/mine.yaml"
    assert (folder / "look" / "experiment" / "mine.yaml").read_text() == tab.text("#yaml")
    words = shlex.split("--config-dir look experiment=mine output_dir=run plot=none report=false")
    told = xrdpipe(*words, cwd=folder, program=SCRIPT)
    assert told.status == 0, told
    rows = chi_text(Pattern(np.array(x), np.array(y), None, "q_A^-1"), {}).partition("\n")[2]
    assert (folder / "run" / "ni_1.chi").read_text().endswith(f"\n{rows}")


def test_a_name_that_is_taken_is_only_overwritten_on_request(tab: Tab, folder: Path) -> None:
    (folder / "look" / "experiment").mkdir(parents=True, exist_ok=True)
    (folder / "look" / "experiment" / "taken.yaml").write_text("mine: 1\n")
    tab.click("#save")
    tab.type("#save-name", "taken")
    tab.click("#save-now")
    tab.wait("!document.querySelector('#save-over').hidden")
    assert "there already" in tab.text("#save-problem")
    assert (folder / "look" / "experiment" / "taken.yaml").read_text() == "mine: 1\n"
    tab.after(lambda: tab.click("#save-over"))
    assert "poni" in (folder / "look" / "experiment" / "taken.yaml").read_text()
    assert all("409" in problem for problem in tab.browser.problems())  # the browser notes the refusal


def test_a_wrong_value_is_told_beside_its_key_and_the_old_result_stays_marked_as_old(tab: Tab) -> None:
    before, command = tab.pattern(), tab.command
    tab.after(lambda: tab.type(key("mask.alpha"), "-1"))
    assert "mask.alpha" in tab.text("#problem")
    assert tab.text("[data-key='mask.alpha'] .bad") == tab.text("#problem")
    assert tab.browser.find("#old").is_displayed()
    assert (tab.pattern(), tab.command) == (before, command)
    tab.after(lambda: tab.click("[data-key='mask.alpha'] .reset"))
    assert not tab.browser.find("#problem").is_displayed()
    assert not tab.browser.find("#old").is_displayed()


def test_before_and_after_their_difference_and_the_cake_are_drawn(tab: Tab) -> None:
    before = tab.pattern()
    tab.after(lambda: tab.type(key("mask.edge"), "12"))
    after = tab.pattern()
    tab.select("#compare", "overlaid")
    tab.wait("document.querySelector('#chart').data?.length === 3")
    assert tab.pattern(0) == before
    assert tab.pattern(1) == after
    _, difference = tab.pattern(2)
    both = [(b, a) for b, a in zip(before[1], after[1], strict=True) if None not in (a, b)]
    assert [each for each in difference if each is not None] == pytest.approx([a - b for b, a in both])
    assert tab.text("#verdict")
    assert len(tab.browser.all("#metrics tbody tr:first-child td")) == 2
    tab.select("#layer", "difference")
    assert tab.browser.texts("#legend th") == ["only before", "only after"]
    tab.wait("Number(document.querySelector('#values li:last-child')?.textContent) < 0")
    tab.select("#compare", "side by side")
    tab.wait("document.querySelector('#chart').layout.xaxis3")
    tab.click("#tab-cake")
    tab.wait("document.querySelector('#chart').layout?.images?.length === 1")


def test_frames_contrast_rings_and_cursor_follow(tab: Tab) -> None:
    tab.after(lambda: tab.click("#next"))
    assert (tab.text("#position"), tab.text("#name")) == ("2 / 3", "ni_2")
    tab.after(lambda: tab.select("#combine", "sum"))
    assert "source.sum=3" in tab.command
    tab.wait("document.querySelectorAll('#values li').length === 5")
    values = tab.browser.texts("#values li")
    tab.type("#high", "77")
    tab.wait("document.querySelector('#values li').textContent === '77'")
    assert tab.browser.texts("#values li") != values
    tab.select("#calibrant", "Ni")
    tab.browser.hover("#canvas", 20, 30)
    tab.wait("document.querySelector('#cursor .q dd').textContent !== '\u2013'")
    numbers = {name: float(tab.text(f"#cursor .{name} dd")) for name in ("q", "d", "two_theta", "azimuth")}
    assert numbers["q"] * numbers["d"] == pytest.approx(2 * np.pi, rel=1e-3)
    assert numbers["two_theta"] > 0


def test_zooming_and_panning_ask_for_the_visible_part_alone_and_a_double_click_for_the_whole_frame(tab: Tab) -> None:
    asked = """(() => {
      const names = performance.getEntriesByType("resource").map((entry) => new URL(entry.name));
      return names.findLast((url) => url.pathname === "/api/picture")?.searchParams.get("rows");
    })()"""
    tab.wait(f"{asked} === '0,120'")
    tab.browser.press("#canvas", "+", "+", "+", "+")
    tab.wait(f"{asked} !== '0,120'")
    first, last = map(int, tab.browser.run(f"return {asked}").split(","))
    assert 0 < first < last < 120
    tab.drag((0, 0), (0, 60))
    tab.wait(f"parseInt({asked}) < {first}")
    tab.browser.double_click("#canvas")
    tab.wait(f"{asked} === '0,120'")


def test_a_threshold_in_a_region_masks_there_alone(tab: Tab) -> None:
    tab.click("[data-tool=threshold]")
    tab.corners((-80, 20), (-20, 20), (-20, 80))
    tab.browser.press("#canvas", "\ue007")  # Enter
    assert "first type a value" in tab.text("#hint-text")
    tab.type("#above", "25")
    tab.corners((-80, 20), (-20, 20), (-20, 80))
    tab.after(lambda: tab.browser.press("#canvas", "\ue007"))
    region = tab.drawn
    assert region > 0
    tab.after(lambda: tab.click("#everywhere"))
    assert tab.drawn > region


def test_a_frame_whose_name_is_markup_runs_no_script(tab: Tab) -> None:
    tab.after(lambda: tab.browser.press("#slider", "\ue010"))  # End
    assert tab.text("#name") == HOSTILE.removesuffix(".tif")
    tab.click("[data-copy=command]")
    tab.wait("['Copied', 'Selected'].includes(document.querySelector('[data-copy=command]').textContent)")
    tab.click("#show-yaml")
    assert HOSTILE in tab.text("#yaml")
    assert HOSTILE in tab.command
    assert tab.browser.run("return [window.ran, document.images.length]") == [None, 0]


def test_two_tabs_do_not_disturb_each_other_and_a_reload_keeps_what_is_set(tab: Tab, page: Page) -> None:
    driver = tab.browser.driver
    first = driver.current_window_handle
    tab.after(lambda: tab.type(key("integ.npt"), "60"))
    driver.switch_to.new_window("tab")
    second = Tab(tab.browser, page)
    assert "integ.npt=100" in second.command
    second.after(lambda: second.type(key("integ.npt"), "70"))
    driver.switch_to.window(first)
    assert "integ.npt=60" in tab.command
    assert len(tab.pattern()[0]) <= 60
    tab.reload()
    assert "integ.npt=60" in tab.command
    assert tab.browser.find(key("integ.npt")).get_property("value") == "60"


def test_a_tab_without_the_token_is_refused(tab: Tab, page: Page) -> None:
    driver = tab.browser.driver
    driver.delete_all_cookies()
    driver.switch_to.new_window("tab")
    for address in (f"http://127.0.0.1:{page.port}/", f"http://127.0.0.1:{page.port}/?token=wrong"):
        driver.get(address)
        assert "token" in tab.text("body")
        assert not tab.browser.all("#canvas")
    assert all("403" in problem for problem in tab.browser.problems())


def test_every_control_has_a_name_for_screen_readers(tab: Tab) -> None:
    nameless: list[Any] = tab.browser.run("""
        return [...document.querySelectorAll("button, input, select")].filter((node) => !(
          node.getAttribute("aria-label") || node.ariaLabel || node.labels?.length || node.textContent.trim()
        )).map((node) => node.outerHTML)
    """)
    assert nameless == []


def test_shapes_of_a_closed_tab_are_back_in_the_next_one_and_in_a_file_when_the_program_ends(
    browser: Browser, folder: Path
) -> None:
    driver, words = browser.driver, ("poni=data/tiny.poni", FRAMES[0], "stay=true", "save=back")
    first = driver.current_window_handle

    def opened(page: Page) -> Tab:
        driver.switch_to.new_window("tab")
        return Tab(browser, page)

    def close() -> None:
        driver.close()
        driver.switch_to.window(first)

    with served(folder, *words) as page:
        tab = opened(page)
        assert not tab.browser.find("#back").is_displayed()
        tab.after(lambda: tab.type(key("mask.alpha"), "3"))
        tab.click("[data-tool=circle]")
        tab.after(lambda: tab.drag((60, 60), (80, 70)))
        drawn, command = tab.drawn, tab.command
        close()
        tab = opened(page)
        assert (tab.drawn, tab.command) == (drawn, command)
        assert tab.browser.find("#back").is_displayed()
        assert len(tab.browser.all("#shapes li")) == 1
        tab.click("#end")
        tab.wait("document.querySelector('#problem').classList.contains('ended')")
        _, err = page.process.communicate(timeout=LIMIT)
        assert "1 shape, kept in back/unsaved.json" in err
        close()
    with served(folder, *words) as page:
        tab = opened(page)
        assert len(tab.browser.all("#shapes li")) == 1
        tab.click("#save")
        tab.after(lambda: tab.click("#save-now"))
        tab.click("dialog [value=close]")
        tab.wait("!document.querySelector('#busy').textContent.includes('…')")
        close()
        tab = opened(page)
        assert not tab.browser.all("#shapes li")
        page.stop()
        close()
    assert not (folder / "back" / "unsaved.json").exists()
    browser.problems()  # the program of the tab ended


def test_a_preview_gives_way_to_the_exact_pattern(tab: Tab) -> None:
    tab.browser.run("""
        window.seen = [];
        new MutationObserver(() => seen.push(document.body.className)).observe(document.body, {attributes: true});
    """)
    tab.after(lambda: tab.type(key("integ.npt"), "77"))
    assert any("preview" in name for name in tab.browser.run("return seen"))
    assert "preview" not in tab.browser.run("return document.body.className")
    answer = tab.page.view(values={"integ.npt": 77})
    assert tab.pattern()[1] == answer["pattern"]["y"]


def test_rings_of_a_typed_cell_are_drawn_and_a_wrong_one_is_explained(tab: Tab) -> None:
    tab.select("#calibrant", "d or cell …")
    tab.type("#phase", "cubic Q 3.5\t")
    tab.wait("document.querySelector('#problem').textContent.includes('phase=')")
    asked = "performance.getEntriesByType('resource').filter((each) => each.name.includes('api/rings')).length"
    before = tab.browser.run(f"return {asked}")
    tab.type("#phase", "cubic F 3.5238\t")
    tab.wait(f"{asked} > {before} && document.querySelector('#problem').hidden")
    assert all("400" in problem for problem in tab.browser.problems())  # the browser notes the refusal


def test_closing_the_last_tab_ends_the_program(browser: Browser, folder: Path) -> None:
    with served(folder, "poni=data/tiny.poni", FRAMES[0]) as page:
        first = browser.driver.current_window_handle
        browser.driver.switch_to.new_window("tab")
        Tab(browser, page)
        browser.driver.close()
        browser.driver.switch_to.window(first)
        assert page.process.wait(timeout=LIMIT) == 0
