"""For everybody: axe finds nothing, all can be reached and done by keyboard, phones, no motion."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.browser.dashboard import Dashboard, store_events
from tests.browser.support import Console
from tests.browser.test_looks import (
    NARROWEST,
    SCHEMES,
    SCREENSHOTS,
    Scheme,
    assert_accessible,
)
from tests.support.databases import Database

pytestmark = pytest.mark.browser

FOCUSED = """() => {
    const { activeElement: element } = document;
    const name = element.getAttribute("aria-label") ?? element.name ?? "";
    const text = element.closest("a, button, summary")?.textContent ?? "";
    return [(name || text).trim(), getComputedStyle(element).outlineStyle];
}"""


@pytest.fixture(scope="module", autouse=True)
def _events(database: Database) -> None:
    store_events(database, days=30)


@pytest.fixture
def context(browser: Browser, console: Console) -> Iterator[BrowserContext]:
    """A browser that wants no motion: none is going on."""
    with browser.new_context(reduced_motion="reduce") as context:
        console.watch(context)
        yield context


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", [1200, NARROWEST])
def test_axe_finds_nothing(dashboard: Dashboard, scheme: Scheme, width: int) -> None:
    dashboard.page.set_viewport_size({"width": width, "height": 900})
    dashboard.page.emulate_media(color_scheme=scheme)
    dashboard.open("?range=7d&tz=UTC&series=click")
    assert_accessible(dashboard.page)
    name = f"dashboard-{scheme}-{width}.png"
    dashboard.page.screenshot(path=SCREENSHOTS / name, full_page=True)
    dashboard.open_table()
    dashboard.page.locator("#map summary").click()
    dashboard.control("range").select_option("custom")
    expect(dashboard.page.locator("#custom")).to_be_visible()
    assert_accessible(dashboard.page)
    assert dashboard.page.evaluate("document.documentElement.scrollWidth") == width


def test_axe_finds_nothing_where_there_is_nothing_and_something_is_wrong(
    dashboard: Dashboard,
) -> None:
    for scheme in SCHEMES:
        dashboard.page.emulate_media(color_scheme=scheme)
        dashboard.open("?range=custom&from=2001-01-01&to=2001-01-02&tz=UTC")
        expect(dashboard.page.locator("#nothing")).to_be_visible()
        dashboard.page.evaluate(
            "document.getElementById('trouble').hidden = false;"
            "document.getElementById('trouble').textContent = 'The service does not answer.'"
        )
        assert_accessible(dashboard.page)


def test_everything_is_reached_by_keyboard(dashboard: Dashboard) -> None:
    dashboard.open("?range=custom&from=2025-05-01&to=2025-05-20&tz=UTC")
    reached: list[str] = []
    for _ in range(40):
        dashboard.page.keyboard.press("Tab")
        name, outline = dashboard.page.evaluate(FOCUSED)
        if name == "" or (reached and name == reached[0]):
            break
        assert outline == "solid", name
        # A date has parts that are reached one after the other.
        if not reached or reached[-1] != name:
            reached.append(name)
    words = [name.split("\n")[0].split("  ")[0] for name in reached]
    expected = [
        *("Skip to the figures", "Demo", "API", "Dark mode"),
        *("range", "Earlier", "Later", "from", "to", "Show", "compare", "tz", "site"),
        *("All events", "Views", "Clicks", "Locations", "Active users"),
        *("interval", "The same as a table", "The busiest places as a table"),
    ]
    assert len(words) == len(expected), words
    assert all(word.startswith(name) for word, name in zip(words, expected, strict=True)), words


def test_everything_is_done_by_keyboard(dashboard: Dashboard) -> None:
    dashboard.open("?range=7d&tz=UTC")
    page, keyboard = dashboard.page, dashboard.page.keyboard
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#figures")).to_be_focused()
    clicks = page.locator("[data-series=click]")
    clicks.focus()
    keyboard.press("Enter")
    dashboard.expect_state(series="click")
    dashboard.control("compare").focus()
    keyboard.press("Space")
    dashboard.expect_state(compare="off")
    dashboard.control("range").focus()
    keyboard.press("ArrowDown")
    dashboard.page.wait_for_url(lambda url: "range" not in url)
    dashboard.expect_loaded()
    dashboard.control("site").focus()
    keyboard.press("ArrowUp")
    keyboard.press("Tab")
    dashboard.expect_state(site="2")
    page.locator("#chart summary").focus()
    keyboard.press("Enter")
    keyboard.press("Tab")
    table = page.get_by_role("region", name="Table of the chart")
    expect(table).to_be_focused()
    expect(table.get_by_role("row")).to_have_count(31)  # It is made once it has been opened.
    keyboard.press("Tab")
    keyboard.press("Enter")
    dashboard.expect_state(range="custom", **{"from": "2025-04-29", "to": "2025-04-29"})


def test_dark_mode_is_switched_and_kept(dashboard: Dashboard) -> None:
    page = dashboard.page
    switch = page.get_by_role("button", name="Dark mode")
    colour = "getComputedStyle(document.body).backgroundColor"
    dashboard.open()
    light = page.evaluate(colour)
    expect(switch).to_have_attribute("aria-pressed", "false")
    switch.press("Space")
    expect(switch).to_have_attribute("aria-pressed", "true")
    dark = page.evaluate(colour)
    assert dark != light
    dashboard.open()
    assert page.evaluate(colour) == dark
    page.emulate_media(color_scheme="dark")
    switch.press("Space")
    assert page.evaluate(colour) == light


def test_canvases_say_what_they_show(dashboard: Dashboard) -> None:
    dashboard.open("?range=7d&tz=UTC&series=view")
    chart = dashboard.page.get_by_role("img", name="Views by day. The most, ")
    expect(chart).to_be_visible()
    map_ = dashboard.page.get_by_role("img", name="World map with ")
    expect(map_).to_be_visible()
    dashboard.page.locator("#map summary").click()
    places = dashboard.rows("#map")
    assert 1 <= len(places) <= 10
    assert [count for _, count in places] == sorted((n for _, n in places), reverse=True)


def test_where_storage_is_refused_the_page_works(
    context: BrowserContext, dashboard: Dashboard
) -> None:
    context.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no') } })"
    )
    dashboard.open()
    dashboard.page.get_by_role("button", name="Dark mode").click()
    expect(dashboard.page.locator("html")).to_have_attribute("data-theme", "dark")
