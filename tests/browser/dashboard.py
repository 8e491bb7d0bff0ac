"""The dashboard as a visitor sees it, the events that it shows, and what they are by plain SQL."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from playwright.sync_api import Locator, Page, expect

from tests.browser.support import WAIT_MILLISECONDS
from tests.support.databases import Database

NOW = datetime(2025, 5, 28, 14, 23, 30, tzinfo=UTC)
"""What the browser's clock says: in Kiritimati it is the 29th already."""

SERIES = ("all", "view", "click", "location", "users")

# Every few hours of some days a month for a year, and of every day of the last hundred: now and
# the hours before it are in it, and site 2 has a tenth of them.
STORE_EVENTS = """
insert into events (timestamp, event_id, site_id, user_id, event_type, payload)
select
    moment,
    gen_random_uuid(),
    case when number %% 10 = 3 then 2 else 1 end,
    'user-' || number * 7 %% 61,
    (array['view', 'click', 'view', 'location'])[1 + number %% 4]::event_type,
    case number %% 4
        when 1 then jsonb_build_object('element_id', 'button-' || number %% 13)
        when 3 then jsonb_build_object(
            'latitude', number %% 170 - 85, 'longitude', number %% 359 - 179)
        else jsonb_build_object('url', 'https://example.com/' || number %% 17)
    end
from (
    select moment, row_number() over (order by moment)::int as number
    from (
        select generate_series(timestamptz '2025-02-18Z', %(now)s, interval '101 minutes')
        union all
        select generate_series(%(now)s - interval '5 hours', %(now)s, interval '97 seconds')
        union all
        select day + hour * interval '1 hour'
        from generate_series(timestamptz '2024-03-03Z', '2025-02-15Z', interval '13 days') as day,
            generate_series(1, 23, 5) as hour
    ) as moments (moment)
    where moment >= %(first)s
) as numbered
"""
BY_TYPE = """
select event_type::text, count(*) from events
where timestamp >= %(first)s and timestamp < %(behind)s and site_id = %(site)s group by event_type
"""
USERS = """
select count(distinct user_id) from events
where timestamp >= %(first)s and timestamp < %(behind)s and site_id = %(site)s
"""
PATHS = """
select substr(payload ->> 'url', 20) collate "C" as path, count(*) from events
where timestamp >= %(first)s and timestamp < %(behind)s and site_id = %(site)s
    and event_type = 'view'
group by path order by 2 desc, path limit 10
"""

NOTHING = "\u2013"
"""Where there is no number."""

Span = tuple[datetime, datetime]
"""A half-open range."""


def store_events(database: Database, days: int = 500) -> None:
    """Store the events of the last days, and let the aggregates take them in."""
    database.execute(STORE_EVENTS, {"now": NOW, "first": NOW - timedelta(days)})
    database.execute("call refresh_counts()")


def span_of(preset: str, zone: str) -> tuple[Span, Span | None]:
    """Return what a preset means at NOW in a zone, and what it is compared with."""
    tz = ZoneInfo(zone)
    local = NOW.astimezone(tz)
    today, day = local.date(), timedelta(days=1)

    def at(day: date, clock: time = time()) -> datetime:
        return datetime.combine(day, clock, tz)

    def so_far(first: date, before: date, last: date) -> tuple[Span, Span]:
        # To the same time of day, whose microsecond is the last that counts.
        until = at(last, local.time()) + timedelta(microseconds=1)
        return (at(first), at(today + day)), (at(before), until)

    match preset:
        case "today":
            return so_far(today, today - day, today - day)
        case "yesterday":
            return (at(today - day), at(today)), (at(today - 2 * day), at(today - day))
        case "24h":
            end = NOW.replace(second=0) + timedelta(minutes=1)
            return (end - day, end), (end - 2 * day, end - day)
        case "month":
            return so_far(today.replace(day=1), date(2025, 4, 1), today.replace(month=4))
        case "12mo":
            return so_far(date(2024, 6, 1), date(2023, 6, 1), today.replace(year=2024))
        case "all":
            return (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)), None
    days = int(preset.removesuffix("d")) * day
    return so_far(today - days + day, today - 2 * days + day, today - days)


@dataclass(frozen=True)
class Shown:
    """Figures by series: of the range, and of the period before where there is one."""

    figures: dict[str, int]
    before: dict[str, int] | None


def counted(database: Database, span: Span, site: int = 1) -> dict[str, int]:
    """Return the figures of a range by plain SQL."""
    values = dict(zip(("first", "behind"), span, strict=True)) | {"site": site}
    by_type: dict[str, int] = dict(database.execute(BY_TYPE, values).fetchall())
    users = database.execute(USERS, values).fetchone()
    assert users is not None
    counts = {series: by_type.get(series, 0) for series in ("view", "click", "location")}
    return {"all": sum(counts.values()), **counts, "users": users[0]}


def top_paths(database: Database, span: Span) -> list[tuple[str, int]]:
    """Return the paths with the most views by plain SQL."""
    values = dict(zip(("first", "behind"), span, strict=True)) | {"site": 1}
    return [(path, views) for path, views in database.execute(PATHS, values).fetchall()]


def number(text: str) -> int:
    """Return the number that stands in a text as people write it."""
    return int(re.sub(r"[^\d]", "", text))


class Dashboard:
    """A tab with the dashboard."""

    def __init__(self, page: Page, base_url: str) -> None:
        self.page = page
        self.base_url = base_url
        page.set_default_timeout(WAIT_MILLISECONDS)

    def open(self, query: str = "") -> Self:
        """Open it, and wait until all of it is there."""
        self.page.goto(f"{self.base_url}/dashboard/{query}")
        return self.expect_loaded()

    def expect_loaded(self) -> Self:
        """Wait until nothing is asked for any more."""
        expect(self.page.locator("[aria-busy=false]")).to_have_count(6)
        return self

    @property
    def state(self) -> dict[str, str]:
        """What the URL says."""
        return dict(parse_qsl(urlsplit(self.page.url).query))

    def expect_state(self, **wanted: str) -> None:
        """Wait until the URL says so, and all that it says is there."""
        self.page.wait_for_url(lambda url: wanted.items() <= _query(url).items())
        self.expect_loaded()

    def shown(self) -> Shown:
        """Return the figures that are read on the page."""
        texts = self.page.evaluate(
            "[...document.querySelectorAll('[data-series]')].map((button) => "
            "['.value', '.change'].map((part) => button.querySelector(part).textContent))"
        )
        before = None
        if any(change for _, change in texts):
            before = dict(zip(SERIES, (_before(change) for _, change in texts), strict=True))
        return Shown(dict(zip(SERIES, (number(value) for value, _ in texts), strict=True)), before)

    def rows(self, table: str) -> list[tuple[str, int]]:
        """Return the rows of a list: each name and its number."""
        texts: list[list[str]] = self.page.evaluate(
            "(table) => [...document.querySelectorAll(`${table} tbody tr`)].map((row) => "
            "[...row.cells].map((cell) => cell.textContent))",
            table,
        )
        return [(name, 0 if value == NOTHING else number(value)) for name, value, *_ in texts]

    def control(self, name: str) -> Locator:
        """Return what says one part of the state."""
        return self.page.locator(f"[name={name}]")

    def open_table(self) -> None:
        """Show the chart as a table."""
        self.page.locator("#chart summary").click()
        expect(self.page.locator("#chart tbody tr").first).to_be_visible()

    def drag(self, start: float, end: float) -> None:
        """Drag over the chart, from one share of its width to another."""
        box = self.page.locator("#chart .u-over").bounding_box()
        assert box is not None
        middle = box["y"] + box["height"] / 2
        self.page.mouse.move(box["x"] + start * box["width"], middle)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + end * box["width"], middle, steps=4)
        self.page.mouse.up()


def _query(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def _before(change: str) -> int:
    return 0 if change == "none before" else number(change.rpartition("from ")[2])


def requests_of(page: Page) -> list[str]:
    """Return the list of what a page asks the service for counts and events from now on."""
    asked: list[str] = []

    def note(request: Any) -> None:
        path = urlsplit(request.url).path
        # The live counter asks again and again.
        if path.startswith(("/analytics/", "/events")) and not path.endswith("/event-counts"):
            asked.append(request.url)

    page.on("request", note)
    return asked
