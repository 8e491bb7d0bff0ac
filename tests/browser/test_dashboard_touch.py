"""The chart under fingers, on a phone."""

from collections.abc import Iterator, Sequence

import pytest
from playwright.sync_api import Browser, BrowserContext, CDPSession, ViewportSize, expect

from tests.browser.dashboard import Dashboard, counted, store_events
from tests.browser.support import Console
from tests.browser.test_dashboard import days
from tests.support.databases import Database

pytestmark = pytest.mark.browser

MAY = "?range=custom&from=2025-05-01&to=2025-05-20&tz=UTC&compare=off"
FIRST_DAY, LAST_DAY = "2025-05-01", "2025-05-20"


@pytest.fixture(scope="module", autouse=True)
def _events(database: Database) -> None:
    store_events(database, days=60)


@pytest.fixture
def context(browser: Browser, console: Console) -> Iterator[BrowserContext]:
    """A phone."""
    phone: ViewportSize = {"width": 390, "height": 844}
    with browser.new_context(viewport=phone, has_touch=True, is_mobile=True) as context:
        console.watch(context)
        yield context


class Fingers:
    """Fingers on the chart; places are shares of its width and pixels from its top."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._chart = dashboard.page.locator("#chart .u-over")
        self._chart.scroll_into_view_if_needed()
        self._browser: CDPSession = dashboard.page.context.new_cdp_session(dashboard.page)

    def put(self, *places: float) -> None:
        """Put fingers on it."""
        self._send("touchStart", places)

    def move(self, *places: float, down: float = 0) -> None:
        """Move them, in steps, from where they are."""
        self._send("touchMove", places, down)

    def lift(self) -> None:
        """Lift all."""
        self._send("touchEnd", [])

    def _send(self, event: str, places: Sequence[float], down: float = 0) -> None:
        box = self._chart.bounding_box()
        assert box is not None
        points = [
            {"id": finger, "x": box["x"] + box["width"] * place, "y": box["y"] + 60 + down}
            for finger, place in enumerate(places)
        ]
        self._browser.send("Input.dispatchTouchEvent", {"type": event, "touchPoints": points})


def narrowed(dashboard: Dashboard) -> tuple[str, str]:
    """Return the days that are shown after a zoom, once they are."""
    dashboard.page.wait_for_url(
        lambda url: f"from={FIRST_DAY}" not in url or f"to={LAST_DAY}" not in url
    )
    dashboard.expect_loaded()
    return dashboard.state["from"], dashboard.state["to"]


def test_a_finger_drags_over_what_is_to_be_shown(dashboard: Dashboard, database: Database) -> None:
    dashboard.open(MAY)
    fingers = Fingers(dashboard)
    fingers.put(0.26)
    for place in (0.3, 0.4, 0.475):
        fingers.move(place)
    fingers.lift()
    first, last = narrowed(dashboard)
    # Twenty days are nineteen steps: 0.26 is nearest to the 6th, 0.475 to the 10th.
    assert (first, last) == ("2025-05-06", "2025-05-10")
    assert dashboard.shown().figures == counted(database, days(first, last))


def test_two_fingers_spread_what_is_to_be_shown(dashboard: Dashboard) -> None:
    dashboard.open(MAY)
    fingers = Fingers(dashboard)
    fingers.put(0.45, 0.55)
    for half in (0.1, 0.15, 0.2):
        fingers.move(0.5 - half, 0.5 + half)
    fingers.lift()
    # A tenth of the width became four: a quarter of it is left, around the middle.
    assert narrowed(dashboard) == ("2025-05-08", "2025-05-13")
    dashboard.page.go_back()
    dashboard.expect_state(**{"from": FIRST_DAY, "to": LAST_DAY})


def test_fingers_that_close_or_tap_change_nothing(dashboard: Dashboard) -> None:
    dashboard.open(MAY)
    fingers = Fingers(dashboard)
    fingers.put(0.3, 0.7)
    fingers.move(0.4, 0.6)
    fingers.lift()
    fingers.put(0.5)
    fingers.lift()
    expect(dashboard.page.locator(".tip")).to_be_visible()
    assert (dashboard.state["from"], dashboard.state["to"]) == (FIRST_DAY, LAST_DAY)


def test_a_finger_that_goes_up_scrolls_the_page(dashboard: Dashboard) -> None:
    dashboard.open(MAY)
    fingers = Fingers(dashboard)
    before = dashboard.page.evaluate("scrollY")
    fingers.put(0.3)
    for down in (-10, -40, -80, -120):
        fingers.move(0.32, down=down)
    fingers.lift()
    dashboard.page.wait_for_function("(before) => scrollY > before", arg=before)
    assert (dashboard.state["from"], dashboard.state["to"]) == (FIRST_DAY, LAST_DAY)
    expect(dashboard.page.locator(".u-select")).to_have_css("width", "0px")
