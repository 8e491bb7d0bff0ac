"""For everybody: axe finds nothing, in light and dark; phones, keyboards, and little motion."""

from collections.abc import Iterator
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.support import BERLIN, FAILED_REQUEST, Console, Demo
from tests.support.services import ROOT

pytestmark = pytest.mark.browser

SCREENSHOTS = ROOT / "build" / "screenshots"

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
NARROWEST = 320

CLICK_TOO_LARGE = """() => {
    const button = document.getElementById("click-me");
    const text = button.textContent;
    button.textContent = "x".repeat(70_000);
    button.click();
    button.textContent = text;
}"""


def keep_screenshot(page: Page, name: str) -> None:
    """Keep a picture of the whole page as build output."""
    page.screenshot(path=SCREENSHOTS / f"demo-{name}.png", full_page=True, animations="disabled")


def assert_accessible(page: Page) -> None:
    """Check that axe finds no violation, by all of its rules."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.fixture
def context(browser: Browser, console: Console) -> Iterator[BrowserContext]:
    """A browser whose visitor gives the location, and wants no motion: none is going on."""
    with browser.new_context(
        permissions=["geolocation"], geolocation=BERLIN, reduced_motion="reduce"
    ) as context:
        console.watch(context)
        yield context


def open_with_one_of_each(demo: Demo) -> None:
    """Open the demo, with an event of each type stored."""
    demo.open()
    demo.click()
    demo.locate()
    demo.expect_stored(3)
    expect(demo.page.locator("#counts [data-type=total]")).to_contain_text("3 +3")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", [1200, NARROWEST])
def test_axe_finds_nothing(demo: Demo, scheme: Scheme, width: int) -> None:
    demo.page.set_viewport_size({"width": width, "height": 900})
    demo.page.emulate_media(color_scheme=scheme)
    open_with_one_of_each(demo)
    assert_accessible(demo.page)
    keep_screenshot(demo.page, f"{scheme}-{width}")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing_where_events_wait_and_are_refused(
    demo: Demo, console: Console, scheme: Scheme
) -> None:
    console.expect(FAILED_REQUEST)
    demo.page.emulate_media(color_scheme=scheme)
    demo.page.goto(f"{demo.base_url}/demo/?x={'x' * 10_000}")
    demo.expect_stored(1)
    demo.page.evaluate(CLICK_TOO_LARGE)
    expect(demo.events("refused")).to_contain_text("413")
    demo.page.context.set_offline(True)
    demo.click()
    demo.expect_said("No answer from")
    expect(demo.page.locator("#counts-note")).to_have_text("The counts can't be read now")
    assert_accessible(demo.page)
    keep_screenshot(demo.page, f"{scheme}-waiting")


def test_nothing_is_wider_than_the_narrowest_phone(demo: Demo) -> None:
    demo.page.set_viewport_size({"width": NARROWEST, "height": 640})
    demo.open(f"/demo/?{'x' * 500}").expect_stored(1)
    assert demo.page.evaluate("document.documentElement.scrollWidth") == NARROWEST


def test_the_colours_follow_the_scheme(demo: Demo) -> None:
    colours = set()
    for scheme in SCHEMES:
        demo.page.emulate_media(color_scheme=scheme)
        demo.open()
        colours.add(demo.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2


def test_everything_can_be_done_by_keyboard(demo: Demo) -> None:
    demo.open().expect_stored(1)
    keyboard = demo.page.keyboard
    for focused, key in (
        ("dashboard", None),
        ("api", None),
        ("click-me", "Enter"),
        ("get-location", "Space"),
    ):
        keyboard.press("Tab")
        element = demo.page.locator(f"#{focused}")
        expect(element).to_be_focused()
        expect(element).to_have_css("outline-style", "solid")
        if key is not None:
            keyboard.press(key)
    demo.expect_stored(3)
    assert demo.types() == ["view", "click", "location"]


def test_what_happens_is_told_to_screen_readers(demo: Demo) -> None:
    demo.open().expect_stored(1)
    status = demo.page.get_by_role("status")
    demo.page.get_by_role("button", name="Click me").click()
    expect(status).to_contain_text("The click was stored")


def test_nothing_moves_for_those_who_ask(demo: Demo) -> None:
    demo.open().expect_stored(1)
    expect(demo.page.locator("#events li")).to_have_css("animation-name", "none")
    demo.page.emulate_media(reduced_motion="no-preference")
    expect(demo.page.locator("#events li")).to_have_css("animation-name", "arrived")
