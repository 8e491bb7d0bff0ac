"""The dashboard's figures are the API's, and those of plain SQL; its state is in the URL."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from playwright.sync_api import Browser, Route, expect

from loadtest.bench.dashboard import PARTS, cells, painted_in
from tests.browser.dashboard import (
    Dashboard,
    Shown,
    counted,
    requests_of,
    span_of,
    store_events,
    top_paths,
)
from tests.browser.support import FAILED_REQUEST, Console
from tests.support.databases import Database

pytestmark = pytest.mark.browser

PRESETS = ("today", "yesterday", "24h", "7d", "30d", "90d", "month", "12mo", "all")
ZONES = ("UTC", "America/Los_Angeles", "Pacific/Kiritimati")


@pytest.fixture(scope="module", autouse=True)
def _events(database: Database) -> None:
    store_events(database)


def days(first: str, last: str) -> tuple[datetime, datetime]:
    """Return the range of some days of UTC."""
    behind = datetime.fromisoformat(last).replace(tzinfo=UTC) + timedelta(days=1)
    return datetime.fromisoformat(first).replace(tzinfo=UTC), behind


@pytest.mark.parametrize("zone", ZONES)
def test_figures_are_those_of_the_api_and_of_plain_sql(
    dashboard: Dashboard, database: Database, zone: str
) -> None:
    dashboard.open(f"?tz={zone}")
    dashboard.open_table()
    for preset in PRESETS:
        dashboard.control("range").select_option(preset)
        # The usual range is not in the URL.
        dashboard.expect_state(**({} if preset == "30d" else {"range": preset}), tz=zone)
        span, before = span_of(preset, zone)
        expected = Shown(counted(database, span), before and counted(database, before))
        assert dashboard.shown() == expected, preset
        assert dashboard.rows("#pages") == top_paths(database, span), preset
        total = sum(count for _, count in dashboard.rows("#chart"))
        assert total == expected.figures["all"], preset
        assert figures_of_api(dashboard.base_url, span) == expected.figures, preset


def figures_of_api(base_url: str, span: tuple[datetime, datetime]) -> dict[str, int]:
    """Return the figures as the API answers them."""
    query: dict[str, Any] = {}
    if span[0].year > 1:
        query = {
            "start_date": span[0].isoformat(),
            "end_date": (span[1] - timedelta(microseconds=1)).isoformat(),
        }
    with httpx.Client(base_url=base_url, params=query, timeout=60) as client:
        counts = client.get("/analytics/event-counts-by-type").json()
        users = client.get("/analytics/active-users").json()["active_users"]
    counts = {name: counts.get(name, 0) for name in ("view", "click", "location")}
    return {"all": sum(counts.values()), **counts, "users": users}


def test_another_site_has_figures_of_its_own(dashboard: Dashboard, database: Database) -> None:
    dashboard.open("?tz=UTC&compare=off")
    site = dashboard.control("site")
    site.fill("2")
    site.press("Enter")
    dashboard.expect_state(site="2")
    span, _ = span_of("30d", "UTC")
    assert dashboard.shown() == Shown(counted(database, span, site=2), None)


def test_the_chart_shows_the_chosen_series(dashboard: Dashboard) -> None:
    dashboard.open("?range=7d&tz=America/Los_Angeles")
    dashboard.open_table()
    for name in ("Views", "Clicks", "Locations", "All events"):
        figure = dashboard.page.get_by_role("button", name=name)
        figure.click()
        expect(figure).to_have_attribute("aria-pressed", "true")
        expect(dashboard.page.locator("#chart-name")).to_have_text(f"{name} by day")
        value = figure.locator(".value").inner_text()
        total = sum(count for _, count in dashboard.rows("#chart"))
        assert f"{total:,}" == value


def test_active_users_are_shown_by_day(dashboard: Dashboard, database: Database) -> None:
    zone = "Pacific/Kiritimati"
    dashboard.open(f"?range=7d&tz={zone}&series=users&interval=hour")
    dashboard.open_table()
    (first, _), _ = span_of("7d", zone)
    expected = []
    for place in range(7):
        start = first.replace(tzinfo=None) + timedelta(days=place)
        ends = [(start + timedelta(days=n)).replace(tzinfo=ZoneInfo(zone)) for n in (0, 1)]
        name = f"{start:%a}, {start.day} {start:%b %Y}"
        expected.append((name, counted(database, (ends[0], ends[1]))["users"]))
    assert dashboard.rows("#chart") == expected


def test_dragging_zooms_and_back_and_forward_lead_through(
    dashboard: Dashboard, database: Database
) -> None:
    dashboard.open("?range=7d&tz=UTC")
    whole = dashboard.shown()
    dashboard.drag(0.3, 0.7)
    dashboard.expect_state(range="custom", **{"from": "2025-05-24", "to": "2025-05-26"})
    expected = Shown(
        counted(database, days("2025-05-24", "2025-05-26")),
        counted(database, days("2025-05-21", "2025-05-23")),
    )
    assert dashboard.shown() == expected
    # Three days are shown by hour; a part of them is hours.
    dashboard.drag(0.5, 0.6)
    dashboard.page.wait_for_url(lambda url: url.count("Z") == 2)
    dashboard.expect_loaded()
    first, last = (datetime.fromisoformat(dashboard.state[name]) for name in ("from", "to"))
    hours = counted(database, (first, last + timedelta(minutes=1)))
    assert 0 < hours["all"] < expected.figures["all"]
    assert dashboard.shown().figures == hours
    dashboard.page.go_back()
    dashboard.expect_state(to="2025-05-26")
    assert dashboard.shown() == expected
    dashboard.page.go_back()
    dashboard.expect_state(range="7d")
    assert dashboard.shown() == whole
    dashboard.page.go_forward()
    dashboard.expect_state(range="custom")
    assert dashboard.shown() == expected


def test_a_row_of_the_table_leads_to_its_part_of_the_time(
    dashboard: Dashboard, database: Database
) -> None:
    dashboard.open("?range=custom&from=2025-05-01&to=2025-05-28&tz=UTC&interval=week")
    dashboard.open_table()
    dashboard.page.get_by_role("button", name="Week of 12 May 2025").click()
    dashboard.expect_state(**{"from": "2025-05-12", "to": "2025-05-18"})
    assert dashboard.shown().figures == counted(database, days("2025-05-12", "2025-05-18"))


def test_the_days_before_and_after_are_one_step_away(
    dashboard: Dashboard, database: Database
) -> None:
    dashboard.open("?range=7d&tz=UTC")
    later = dashboard.page.get_by_role("button", name="Later")
    expect(later).to_be_disabled()
    whole = dashboard.shown()
    dashboard.page.get_by_role("button", name="Earlier").click()
    dashboard.expect_state(range="custom", **{"from": "2025-05-15", "to": "2025-05-21"})
    assert dashboard.shown() == Shown(
        counted(database, days("2025-05-15", "2025-05-21")),
        counted(database, days("2025-05-08", "2025-05-14")),
    )
    expect(dashboard.page.locator("#before-name")).to_have_text(
        re.compile(r"^compared with 8\W+14 May 2025$")
    )
    later.click()
    dashboard.expect_state(**{"from": "2025-05-22", "to": "2025-05-28"})
    assert dashboard.shown().figures == whole.figures
    dashboard.open("?range=custom&from=2025-05-27T10:00Z&to=2025-05-27T11:59Z&tz=UTC")
    later.click()
    dashboard.expect_state(**{"from": "2025-05-27T12:00Z", "to": "2025-05-27T13:59Z"})
    dashboard.open("?range=all&tz=UTC")
    expect(dashboard.page.get_by_role("button", name="Earlier")).to_be_disabled()


def test_lists_say_what_share_of_all_a_row_has(dashboard: Dashboard, database: Database) -> None:
    dashboard.open("?range=7d&tz=UTC")
    span, _ = span_of("7d", "UTC")
    views = counted(database, span)["view"]
    shares = dashboard.page.locator("#pages tbody td:last-child").all_inner_texts()
    assert [int(share.removesuffix("%")) for share in shares] == [
        int(100 * count / views + 0.5) for _, count in top_paths(database, span)
    ]


def test_dates_of_ones_own(dashboard: Dashboard, database: Database) -> None:
    dashboard.open("?tz=UTC")
    dashboard.control("range").select_option("custom")
    dashboard.control("from").fill("2025-03-01")
    dashboard.control("to").fill("2025-03-31")
    dashboard.page.get_by_role("button", name="Show", exact=True).click()
    dashboard.expect_state(range="custom", to="2025-03-31")
    assert dashboard.shown().figures == counted(database, days("2025-03-01", "2025-03-31"))
    expect(dashboard.page.locator("#range-name")).to_have_text(re.compile(r"^1\W+31 Mar 2025$"))


def test_a_link_shows_the_same_to_everybody(dashboard: Dashboard) -> None:
    query = "?range=custom&from=2025-05-05&to=2025-05-20&compare=off&tz=Asia/Tokyo&site=2"
    query += "&interval=hour&series=click"
    dashboard.open(query)
    assert dashboard.page.url.endswith(query)
    expect(dashboard.control("compare")).not_to_be_checked()
    expect(dashboard.control("tz")).to_have_value("Asia/Tokyo")
    expect(dashboard.control("interval")).to_have_value("hour")
    expect(dashboard.page.locator("#chart-name")).to_have_text("Clicks by hour")
    assert dashboard.shown().before is None


def test_a_state_that_makes_no_sense_is_mended_in_the_url(dashboard: Dashboard) -> None:
    dashboard.open("?range=nothing&tz=Mars/Olympus&site=0&series=x&from=2025-99-99&x=1&interval=y")
    zone = dashboard.page.evaluate("Intl.DateTimeFormat().resolvedOptions().timeZone")
    assert dashboard.state == {"tz": zone}
    # Ninety days have too many minutes.
    dashboard.open("?range=90d&tz=UTC&interval=minute")
    assert dashboard.state == {"range": "90d", "tz": "UTC"}


def test_the_api_says_what_is_wrong_with_a_range(dashboard: Dashboard, console: Console) -> None:
    console.expect(FAILED_REQUEST)
    dashboard.open("?range=custom&from=2025-05-20&to=2025-05-05&tz=UTC")
    alert = dashboard.page.get_by_role("alert")
    expect(alert).to_contain_text("start_date: Must not be after end_date.")
    dashboard.control("range").select_option("7d")
    expect(alert).to_be_hidden()


def test_nothing_is_asked_twice(dashboard: Dashboard) -> None:
    asked = requests_of(dashboard.page)
    dashboard.open("?range=7d&tz=UTC")
    assert len(asked) == len(set(asked)) >= 8
    paths = {url.rpartition("/")[2].split("?")[0] for url in asked}
    assert paths >= {"event-counts-by-type", "event-counts-over-time", "top-pages", "active-users"}
    asked.clear()
    dashboard.control("interval").select_option("hour")
    dashboard.expect_state(interval="hour")
    assert ["event-counts-over-time" in url for url in asked] == [True, True]
    asked.clear()
    dashboard.page.get_by_role("button", name="Clicks").click()
    dashboard.expect_state(series="click")
    assert asked == []
    # Each day's users are dear: only who wants to see them asks for them.
    for _ in range(2):
        dashboard.page.get_by_role("button", name="Active users").click()
        dashboard.expect_state(series="users")
        expect(dashboard.page.locator("#chart-name")).to_have_text("Active users by day")
        dashboard.page.get_by_role("button", name="Clicks").click()
        dashboard.expect_state(series="click")
    assert ["active-users" in url and "interval=day" in url for url in asked] == [True]


def test_what_is_late_is_dropped(dashboard: Dashboard, database: Database) -> None:
    dashboard.open("?range=7d&tz=UTC")
    held: list[Route] = []
    dashboard.page.route("**/top-pages?*start_date=2025-02-28*", lambda route: held.append(route))
    cancelled: list[tuple[str, str | None]] = []
    dashboard.page.on(
        "requestfailed", lambda request: cancelled.append((request.url, request.failure))
    )
    dashboard.control("range").select_option("90d")
    expect(dashboard.page.locator("#pages")).to_have_attribute("aria-busy", "true")
    expect(dashboard.page.locator("#elements")).to_have_attribute("aria-busy", "false")
    dashboard.control("range").select_option("today")
    dashboard.expect_state(range="today")
    (late,) = held
    assert (late.request.url, "net::ERR_ABORTED") in cancelled
    assert dashboard.rows("#pages") == top_paths(database, span_of("today", "UTC")[0])


def test_a_series_that_is_chosen_while_others_are_under_way_is_shown(dashboard: Dashboard) -> None:
    held: list[Route] = []
    dashboard.page.route("**/event-counts-over-time?*", lambda route: held.append(route))
    dashboard.page.goto(f"{dashboard.base_url}/dashboard/?range=7d&tz=UTC&compare=off")
    expect(dashboard.page.locator("#figures")).to_have_attribute("aria-busy", "false")
    dashboard.page.get_by_role("button", name="Views").click()
    (route,) = held
    route.continue_()
    dashboard.expect_loaded()
    expect(dashboard.page.locator("#chart-name")).to_have_text("Views by day")


def test_the_benchmark_sees_each_part_painted(browser: Browser, patient_service: str) -> None:
    painted = painted_in(browser, f"{patient_service}/dashboard/?range=7d&tz=UTC")
    assert painted.keys() == set(PARTS)
    assert min(painted.values()) > 0
    *medians, whole, longest = cells([painted])
    assert len(medians) == len(PARTS)
    assert whole == longest == f"{max(painted.values()):,.0f}"
