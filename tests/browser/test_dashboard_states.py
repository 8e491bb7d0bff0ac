"""The dashboard without events, without its database, with a service that fails, and live."""

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
from playwright.sync_api import Page, Request, expect

from tests.browser.dashboard import NOW, Dashboard
from tests.browser.support import FAILED_REQUEST, Console
from tests.support.databases import Database
from tests.support.proxy import Proxy
from tests.support.services import running_service

pytestmark = pytest.mark.browser

STORE_VIEW = """
insert into events (timestamp, event_id, user_id, event_type, payload)
values (%s, gen_random_uuid(), 'user', 'view', '{"url": "https://example.com/only"}')
"""
HIDE = """
Object.defineProperty(document, "hidden", { configurable: true, get: () => %s });
document.dispatchEvent(new Event("visibilitychange"));
"""


@pytest.fixture
def dashboard(page: Page, service: httpx.Client, no_events: None) -> Dashboard:
    """The dashboard of a service without events."""
    return Dashboard(page, str(service.base_url))


@pytest.fixture(scope="module")
def proxy(shared_database_url: str) -> Iterator[Proxy]:
    """What stands before the database of `frail_service`."""
    with Proxy(shared_database_url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def frail_service(proxy: Proxy) -> Iterator[str]:
    """The URL of a service whose database may go away."""
    with running_service(database_url=proxy.url, read_deadline_seconds=1) as base_url:
        yield base_url


def test_without_events_the_page_says_so(dashboard: Dashboard) -> None:
    dashboard.open("?range=all&tz=UTC")
    assert set(dashboard.shown().figures.values()) == {0}
    expect(dashboard.page.locator("#nothing")).to_contain_text("no events at this site yet")
    expect(dashboard.page.locator("#pages")).to_contain_text("No views in this range.")
    expect(dashboard.page.locator("#elements")).to_contain_text("No clicks in this range.")
    expect(dashboard.page.locator("#map")).to_contain_text("0 in this range")


def test_where_events_are_elsewhere_the_page_leads_there(
    dashboard: Dashboard, database: Database
) -> None:
    database.execute(STORE_VIEW, (NOW,))
    dashboard.open("?range=yesterday&tz=UTC")
    nothing = dashboard.page.locator("#nothing")
    expect(nothing).to_contain_text("No events in this range. The latest is of 28 May 2025")
    nothing.get_by_role("link").click()
    dashboard.expect_state(range="custom", **{"from": "2025-04-29", "to": "2025-05-28"})
    assert dashboard.shown().figures["all"] == 1
    assert dashboard.rows("#pages") == [("/only", 1)]
    expect(nothing).to_be_hidden()


def test_a_first_event_does_not_hide_those_of_long_ago(
    dashboard: Dashboard, database: Database
) -> None:
    database.execute(STORE_VIEW, (NOW,))
    database.execute(STORE_VIEW, (datetime.now(UTC),))
    dashboard.open("?range=30d&tz=UTC")
    assert dashboard.shown().figures["all"] == 1
    nothing = dashboard.page.locator("#nothing")
    expect(nothing).to_contain_text("The latest event before is of 28 May 2025")
    nothing.get_by_role("link").click()
    dashboard.expect_state(range="custom", **{"from": "2025-04-29", "to": "2025-05-28"})
    assert dashboard.shown().figures["all"] == 1
    expect(nothing).to_be_hidden()


def test_while_the_database_is_away_the_page_says_so_and_tries_again(
    page: Page, frail_service: str, proxy: Proxy, no_events: None, console: Console
) -> None:
    console.expect(FAILED_REQUEST)
    dashboard = Dashboard(page, frail_service)
    proxy.refuse()
    try:
        page.goto(f"{frail_service}/dashboard/?range=all&tz=UTC")
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("This page tries again by itself.")
        expect(page.locator("[data-failed]")).to_have_count(6)
        expect(page.locator("[data-series=all] .value")).to_have_text("\u2013")
        expect(page.locator("#live b")).to_have_text("\u2013")
    finally:
        proxy.pass_on()
    expect(alert).to_be_hidden()
    expect(page.locator("[data-failed]")).to_have_count(0)
    assert dashboard.expect_loaded().shown().figures["all"] == 0


def test_figures_stay_while_they_can_not_be_read(
    page: Page, frail_service: str, proxy: Proxy, no_events: None, console: Console
) -> None:
    console.expect(FAILED_REQUEST)
    dashboard = Dashboard(page, frail_service).open("?range=all&tz=UTC")
    proxy.refuse()
    try:
        dashboard.control("range").select_option("7d")
        expect(page.get_by_role("alert")).to_contain_text("tries again")
        assert dashboard.shown().figures["all"] == 0
    finally:
        proxy.pass_on()
    expect(page.get_by_role("alert")).to_be_hidden()


def test_the_live_counter_asks_while_it_is_seen(dashboard: Dashboard) -> None:
    page = dashboard.page
    page.clock.install()
    asked: list[Request] = []
    page.on("request", lambda one: asked.append(one) if "/event-counts?" in one.url else None)
    dashboard.open("?tz=UTC")
    live = page.locator("#live")
    expect(live).to_have_text("0 events in the last 5 minutes")
    event = {"user_id": "user", "event_type": "view", "payload": {"url": "/"}}
    assert httpx.post(f"{dashboard.base_url}/events", json=event).status_code == 202
    page.clock.run_for(5_000)
    expect(live).to_have_text("1 event in the last 5 minutes")
    page.evaluate(HIDE % "true")
    asked.clear()
    page.clock.run_for(60_000)
    assert asked == []
    with page.expect_request("**/event-counts?*"):
        page.evaluate(HIDE % "false")


def test_the_counter_is_of_the_chosen_site(dashboard: Dashboard) -> None:
    with dashboard.page.expect_request("**/event-counts?*site=2"):
        dashboard.open("?tz=UTC&site=2")
