"""Counting touches events at the edges of a range only, however long the range is.

What the functions' statements touch is told by the locks that they took: all that a plan names is
locked before it runs, and what the planner looks at is locked too.
"""

from collections.abc import Iterator
from typing import LiteralString

import pytest
from psycopg import Connection

from service.database.migrations import migrate
from tests.counting.breakdowns import refresh_all as refresh_breakdowns
from tests.counting.breakdowns import rows
from tests.counting.counts import (
    connect,
    counted,
    fill,
    refresh_all,
    repeatable_read,
    stop_jobs,
    stop_scheduler,
)
from tests.support.databases import new_database

FIRST, LAST = "2022-08-01", "2025-07-31"
CHUNKS = 1096

MOST_RELATIONS = 100

pytestmark = pytest.mark.native(reason="the embedded server does not list its locks")

LOCKED_CHUNKS = """
select (range_start at time zone 'UTC')::date::text
from pg_locks
join pg_class on pg_class.oid = relation
join timescaledb_information.chunks on chunk_name = relname
where pid = pg_backend_pid() and relkind = 'r' and hypertable_name = 'events'
order by 1
"""
LOCKED_RELATIONS = """
select count(distinct relation) from pg_locks
where pid = pg_backend_pid() and locktype = 'relation'
"""


@pytest.fixture(scope="module")
def connection(server_url: str) -> Iterator[Connection]:
    """Three years, a chunk a day, all of it refreshed."""
    with new_database(server_url) as url:
        stop_scheduler(url)
        migrate(url)
        with connect(url) as connection:
            stop_jobs(connection)
            page = '{"url": "/"}'
            fill(connection, f"{FIRST} 06:00+00", f"{LAST} 18:00+00", "6 hours", page)
            refresh_all(connection)
            refresh_breakdowns(connection)
            found = connection.execute("select count(*) from show_chunks('events')").fetchone()
            assert found == (CHUNKS,)
            yield connection


def touched(connection: Connection, start: str | None, end: str | None) -> tuple[list[str], int]:
    """Return the days of events that a count locked, and how many relations it locked in all."""
    with repeatable_read(connection):
        assert counted(connection, start, end)
        return locked(connection)


def locked(connection: Connection) -> tuple[list[str], int]:
    """Return the days of events that this transaction locked, and how many relations in all."""
    days = [day for (day,) in connection.execute(LOCKED_CHUNKS).fetchall()]
    found = connection.execute(LOCKED_RELATIONS).fetchone()
    assert found is not None
    return days, found[0]


def test_edges_within_a_minute_touch_only_the_days_that_they_are_in(connection: Connection) -> None:
    days, relations = touched(connection, "2022-08-01 11:59:59.5+00", "2025-07-31 12:00:00.5+00")
    assert days == ["2022-08-01", "2025-07-31"]
    assert relations < MOST_RELATIONS


def test_edges_on_whole_minutes_touch_no_event(connection: Connection) -> None:
    assert touched(connection, "2022-08-01 05:59+00", "2025-07-31 12:01+00")[0] == []
    assert touched(connection, "2022-08-01", "2025-07-31")[0] == []


@pytest.mark.parametrize("interval", ["day", "week", "month"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
def test_a_chart_of_three_years_touches_no_more(
    connection: Connection, interval: str, zone: str
) -> None:
    with repeatable_read(connection):
        counts = connection.execute(
            "select sum(event_count) from event_counts_over_time(%s, %s, %s, %s)",
            [interval, "2022-08-01 11:59:59.5+00", "2025-07-31 12:00:00.5+00", zone],
        ).fetchone()
        days, relations = locked(connection)
    assert counts == (CHUNKS * 4 - 3,)
    assert days == ["2022-08-01", "2025-07-31"]
    assert relations < MOST_RELATIONS


BREAKDOWNS: dict[LiteralString, list[tuple[object, ...]]] = {
    "select * from top_pages(%(start)s, %(end)s)": [("/", CHUNKS * 4 - 2)],
    "select * from top_elements(%(start)s, %(end)s)": [],
    "select active_users(%(start)s, %(end)s)": [(1,)],
    "select count(bucket), max(active_users) from active_users_over_time(%(start)s, %(end)s)": [
        (CHUNKS, 1)
    ],
    "select count(bucket) from active_users_over_time(%(start)s, %(end)s, 'Asia/Kathmandu')": [
        (CHUNKS,)
    ],
}


@pytest.mark.parametrize("query", BREAKDOWNS)
def test_a_breakdown_touches_no_more(connection: Connection, query: LiteralString) -> None:
    edges = {"start": "2022-08-01 11:59:59.5+00", "end": "2025-07-31 18:00:00.5+00"}
    with repeatable_read(connection):
        assert rows(connection, query, **edges) == BREAKDOWNS[query]
        days, relations = locked(connection)
    assert days == ["2022-08-01", "2025-07-31"]
    assert relations < MOST_RELATIONS


@pytest.mark.parametrize("query", BREAKDOWNS)
def test_a_breakdown_of_whole_quarter_hours_touches_no_event(
    connection: Connection, query: LiteralString
) -> None:
    edges = {"start": "2022-08-01 05:45+00", "end": "2025-07-31 18:15+00"}
    with repeatable_read(connection):
        rows(connection, query, **edges)
        assert locked(connection)[0] == []


def test_a_late_event_costs_its_own_day_only(connection: Connection) -> None:
    fill(connection, "2025-06-15 03:04:05+00", "2025-06-15 03:04:05+00", "1 day")
    assert touched(connection, "2022-08-01", "2025-07-31")[0] == ["2025-06-15"]
    refresh_all(connection)
    assert touched(connection, "2022-08-01", "2025-07-31")[0] == []


def test_days_in_columnstore_are_passed_over_too(connection: Connection) -> None:
    connection.execute("select compress_chunk(chunk) from show_chunks('events') as chunk")
    days, relations = touched(connection, "2022-08-01 11:59:59.5+00", "2025-07-31 12:00:00.5+00")
    assert days == ["2022-08-01", "2025-07-31"]
    assert relations < MOST_RELATIONS


def test_an_open_end_touches_only_what_is_newer_than_the_last_refresh(
    connection: Connection,
) -> None:
    fill(connection, "2025-08-01 06:00+00", "2025-08-02 06:00+00", "6 hours")
    assert touched(connection, None, None)[0] == ["2025-07-31", "2025-08-01", "2025-08-02"]
