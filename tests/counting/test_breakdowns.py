"""Top pages, top elements and active users equal plain SQL over the events, whatever happened."""

import random
import re
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection

from tests.counting.breakdowns import (
    ACTIVE_USERS_OVER_TIME,
    BREAKDOWN_LEVELS,
    TOP_ELEMENTS,
    TOP_PAGES,
    Visit,
    assert_breakdowns_exact,
    assert_days_exact,
    breakdown_steps,
    insert_visits,
    refresh_all,
    rows,
)
from tests.counting.counts import refresh, repeatable_read
from tests.counting.steps import DAY, SITES, Step, Window, windows
from tests.counting.weeks import bounded, ends, fresh_weeks

FIRST_DAY = datetime(2025, 5, 1, tzinfo=UTC)
ZONES = ("UTC", "Europe/Berlin", "America/Havana", "Asia/Kathmandu", "Australia/Lord_Howe")


@bounded
@given(happenings=st.lists(st.tuples(breakdown_steps, windows), min_size=1, max_size=12))
def test_breakdowns_equal_plain_sql_after_each_step(
    connection: Connection, happenings: list[tuple[Step, Window]]
) -> None:
    first_day = fresh_weeks(connection, BREAKDOWN_LEVELS)
    for step, asked in happenings:
        step.take(connection, first_day)
        start, end = ends(asked, first_day)
        for site in SITES:
            assert_breakdowns_exact(connection, start, end, site)
            with repeatable_read(connection):
                assert_breakdowns_exact(connection, start, end, site)


@bounded
@given(
    happenings=st.lists(st.tuples(breakdown_steps, windows), min_size=1, max_size=8),
    tz=st.sampled_from(ZONES),
)
def test_the_users_of_each_day_equal_plain_sql_after_each_step(
    connection: Connection, happenings: list[tuple[Step, Window]], tz: str
) -> None:
    first_day = fresh_weeks(connection, BREAKDOWN_LEVELS)
    for step, asked in happenings:
        step.take(connection, first_day)
        asked = Window(
            -5 * DAY if asked.start is None else asked.start,
            30 * DAY if asked.end is None else asked.end,
        )
        start, end = asked.values(first_day).values()
        for site in SITES:
            assert_days_exact(connection, start, end, tz, site)


def test_what_is_materialized_is_counted_with_what_is_not(connection: Connection) -> None:
    visits = [
        Visit(hour * timedelta(hours=1), kind, 1, f"user-{hour % 7}", {"url": "/a", "text": "b"})
        for hour in range(96)
        for kind in ("view", "click")
    ]
    insert_visits(connection, FIRST_DAY, visits)
    refresh_all(connection)
    connection.execute("delete from events where timestamp = '2025-05-02 06:00Z'")
    late = [Visit(DAY, "view", 1, "late", {"url": "/late"})]
    insert_visits(connection, FIRST_DAY, late)
    assert_breakdowns_exact(connection)
    values = {"start": FIRST_DAY, "end": FIRST_DAY + 2 * DAY, "site": 1}
    assert rows(connection, TOP_PAGES, **values) == [("/a", 47), ("/late", 1)]
    assert rows(connection, TOP_ELEMENTS, **values) == [("b", 47)]
    assert rows(connection, ACTIVE_USERS_OVER_TIME, tz="UTC", **values) == [
        (FIRST_DAY.date(), 7),
        ((FIRST_DAY + DAY).date(), 8),
        (None, 8),
    ]


@pytest.mark.parametrize("year", [2025, 1890])
def test_days_of_any_zone_are_made_of_what_is_materialized(
    connection: Connection, year: int
) -> None:
    # In 1890 clocks showed local mean times, whose days begin within a quarter hour.
    first_day = FIRST_DAY.replace(year=year)
    visits = [
        Visit(timedelta(minutes=5 * n), "view", 2, f"user-{n // 2}", {"url": "/"})
        for n in range(1000)
    ]
    insert_visits(connection, first_day, visits)
    refresh_all(connection)
    for tz in ZONES:
        assert_days_exact(connection, first_day, first_day + 4 * DAY, tz, 2)
        assert_days_exact(connection, first_day + DAY / 3, first_day + 2.7 * DAY, tz, 2)


def test_of_equal_counts_the_first_by_code_points_is_kept(connection: Connection) -> None:
    for number, name in enumerate(("ä", "a", "B", "b")):
        at = number * timedelta(days=1)
        insert_visits(connection, FIRST_DAY, [Visit(at, "view", 1, "u", {"url": f"/{name}"})])
        refresh(connection, "page_views_quarter_hour")
    found = rows(connection, TOP_PAGES, start=None, end=None, site=1)
    assert found == [("/B", 1), ("/a", 1), ("/b", 1)]


def test_open_ends_reach_from_the_first_event_to_now(connection: Connection) -> None:
    values = {"start": None, "end": None, "tz": "UTC", "site": 1}
    assert rows(connection, ACTIVE_USERS_OVER_TIME, **values) == [(None, 0)]
    now = datetime.now(UTC)
    insert_visits(connection, now, [Visit(-3 * DAY, "view", 1, "u", {"url": "/"})])
    for _ in range(2):
        *days, total = rows(connection, ACTIVE_USERS_OVER_TIME, **values)
        assert days[0] == ((now - 3 * DAY).date(), 1)
        assert [count for _, count in days[1:]] == [0] * (len(days) - 1)
        assert days[-1][0] >= now.date()
        assert total == (None, 1)
        refresh_all(connection)
    insert_visits(connection, now, [Visit(2 * DAY, "view", 1, "u", {"url": "/"})])
    *_, last, _ = rows(connection, ACTIVE_USERS_OVER_TIME, **values)
    assert last == ((now + 2 * DAY).date(), 1)


def test_more_than_10000_days_are_refused(connection: Connection) -> None:
    end = FIRST_DAY + 10_001 * DAY
    with pytest.raises(psycopg.DatabaseError, match="more than 10000 buckets") as caught:
        rows(connection, ACTIVE_USERS_OVER_TIME, start=FIRST_DAY, end=end, tz="UTC", site=1)
    assert caught.value.sqlstate == "TM002"


# Paths and elements


PATHS = {
    "https://example.com/a/b?q=/c#d": "/a/b",
    "https://user@example.com:8443/a/": "/a/",
    "https://example.com": "/",
    "HTTPS://example.com?q=1": "/",
    "https://example.com//a": "//a",
    "//example.com/a": "/a",
    "/a//b": "/a//b",
    "/a?next=https://example.com/b": "/a",
    "/a#?b": "/a",
    "#/a": "/",
    "?q=1": "/",
    "a/b": "/a/b",
    "about:blank": "/about:blank",
    "https://example.com/a\nb?c\nd": "/a\nb",
    "https://example.com/%C3%A4": "/%C3%A4",
    "": "/",
    None: None,
}


def test_the_path_of_a_url(connection: Connection) -> None:
    paths = {
        url: rows(connection, "select page_path(%(url)s::text)", url=url)[0][0] for url in PATHS
    }
    assert paths == PATHS


def plain_path(url: str) -> str:
    """Return a URL's path, step by step."""
    url = url.partition("#")[0].partition("?")[0]
    scheme, colon, rest = url.partition(":")
    if colon and rest.startswith("//") and re.fullmatch("[A-Za-z][A-Za-z0-9+.-]*", scheme):
        url = rest
    if url.startswith("//"):
        _, _, path = url[2:].partition("/")
    else:
        path = url.removeprefix("/")
    return f"/{path}"[:512]


parts = st.sampled_from([*"/?#:.ä😀\n ", "//", "://", "http:", "x-1.+:", "a", "1", "-", "a" * 300])
urls = st.lists(parts, max_size=8).map("".join)


@settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(url=urls)
def test_the_path_of_any_url(connection: Connection, url: str) -> None:
    assert rows(connection, "select page_path(%(url)s)", url=url) == [(plain_path(url),)]


def test_no_text_is_too_long_for_a_level(connection: Connection) -> None:
    chance = random.Random(1)
    text = "".join(chr(chance.randrange(0x10000, 0x20000)) for _ in range(15_000))
    visits = [
        Visit(minute * timedelta(minutes=1), kind, 1, chr(0x10000) * 64, payload)
        for minute in range(3)
        for kind in ("view", "click")
        for payload in ({"url": f"/{text}", "element_id": text}, {"url": text, "xpath": text})
    ]
    insert_visits(connection, FIRST_DAY, visits)
    for _ in range(2):
        assert_breakdowns_exact(connection)
        assert rows(connection, TOP_PAGES, start=None, end=None, site=1) == [(f"/{text[:511]}", 6)]
        assert rows(connection, TOP_ELEMENTS, start=None, end=None, site=1) == [(text[:512], 6)]
        refresh_all(connection)
