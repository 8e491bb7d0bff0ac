"""Buckets of a calendar: they begin where its clocks say, and their counts are the raw ones."""

from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import Connection

from service.analytics.parameters import start_of_day
from tests.counting.counts import INSERT, fill, refresh_all, repeatable_read
from tests.counting.steps import DAY, SITES, Step, Window, steps, windows
from tests.counting.weeks import bounded, ends, fresh_weeks

INTERVALS = ("minute", "quarter_hour", "hour", "day", "week", "month")
# Offsets of 45 minutes and half an hour; clocks that change by half an hour; days that begin at one
# o'clock, that have two midnights, or that a zone skipped.
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "America/Havana",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
)
# How far a range of each may reach: some hundred buckets.
SPANS = dict(zip(INTERVALS, (0.1, 1, 9, 60, 400, 1500), strict=True))
QUARTER = timedelta(minutes=15)
HOUR = timedelta(hours=1)

zones = st.sampled_from(ZONES)
intervals = st.sampled_from(INTERVALS)
instants = st.datetimes(datetime(2005, 1, 1), datetime(2025, 12, 31)).map(  # noqa: DTZ001
    lambda moment: moment.replace(tzinfo=UTC)
)

STARTS = "select bucket_starts(%s, %s, %s, %s)"
OVER_TIME = """
select bucket, event_type::text, event_count
from event_counts_over_time(%s, %s::timestamptz, %s::timestamptz, %s, %s::smallint)
"""


def starts(
    connection: Connection, interval: str, start: datetime, end: datetime, zone: str
) -> list[datetime]:
    """Return where the buckets of a range begin."""
    row = connection.execute(STARTS, [interval, start, end, zone]).fetchone()
    assert row is not None
    found: list[datetime] = row[0]
    return found


def expected_starts(interval: str, start: datetime, end: datetime, zone: str) -> list[datetime]:
    """Return the same by Python's calendar."""
    if start >= end:
        return []
    found = sorted(set(_candidates(interval, start, end, ZoneInfo(zone))))
    first = bisect_right(found, start) - 1
    return [moment for moment in found[first:] if moment < end]


def _candidates(
    interval: str, start: datetime, end: datetime, zone: ZoneInfo
) -> Iterator[datetime]:
    match interval:
        case "minute" | "quarter_hour":
            width = QUARTER if interval == "quarter_hour" else timedelta(minutes=1)
            moment = datetime.fromtimestamp(start.timestamp() // 900 * 900, UTC)
            while moment < end:
                yield moment
                moment += width
        case "hour":
            moment = datetime.fromtimestamp(start.timestamp() // 900 * 900, UTC) - 2 * HOUR
            while moment < end:
                now, before = (_local(at, zone) for at in (moment, moment - QUARTER))
                if now < before or now.hour != before.hour:
                    yield moment
                moment += QUARTER
        case _:
            day = _local(start, zone).date() - timedelta(days=40)
            while day <= _local(end, zone).date():
                if _begins(interval, day):
                    yield start_of_day(day, zone)
                day += timedelta(days=1)


def _local(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def _begins(interval: str, day: date) -> bool:
    match interval:
        case "week":
            return day.weekday() == 0
        case "month":
            return day.day == 1
        case _:
            return True


@settings(
    deadline=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(interval=intervals, zone=zones, start=instants, part=st.floats(0, 1))
@example("day", "Pacific/Apia", datetime(2011, 12, 27, tzinfo=UTC), 0.2)
@example("day", "America/Havana", datetime(2024, 10, 30, tzinfo=UTC), 0.2)
@example("day", "America/Sao_Paulo", datetime(2018, 11, 1, tzinfo=UTC), 0.2)
@example("day", "UTC", datetime(2024, 2, 27, tzinfo=UTC), 0.1)
@example("hour", "Australia/Lord_Howe", datetime(2025, 4, 5, tzinfo=UTC), 0.5)
@example("hour", "Europe/Berlin", datetime(2025, 10, 25, tzinfo=UTC), 0.5)
@example("hour", "Asia/Kathmandu", datetime(2025, 10, 25, 0, 20, tzinfo=UTC), 0.5)
def test_buckets_begin_where_the_clocks_say(
    connection: Connection, interval: str, zone: str, start: datetime, part: float
) -> None:
    end = start + timedelta(days=SPANS[interval] * part)
    assert starts(connection, interval, start, end, zone) == expected_starts(
        interval, start, end, zone
    )


@bounded
@given(
    happenings=st.lists(st.tuples(steps, windows), min_size=1, max_size=6),
    zone=zones,
    interval=st.sampled_from(["hour", "day", "week", "month"]),
)
def test_each_bucket_equals_the_raw_count(
    connection: Connection,
    happenings: list[tuple[Step, Window]],
    zone: str,
    interval: str,
) -> None:
    first_day = fresh_weeks(connection)
    for step, asked in happenings:
        step.take(connection, first_day)
        bounds = ends(asked, first_day)
        start, end = (
            moment if isinstance(moment, datetime) else first_day + timedelta(days=open_end)
            for moment, open_end in zip(bounds, (-5, 30), strict=True)
        )
        for site in SITES:
            with repeatable_read(connection):
                assert_over_time(connection, interval, start, end, zone, site)


def assert_over_time(
    connection: Connection, interval: str, start: datetime, end: datetime, zone: str, site: int
) -> None:
    """Fail unless each bucket's count equals that of the rows in it and in the range."""
    buckets = starts(connection, interval, start, end, zone)
    rows = connection.execute(
        "select timestamp, event_type::text from events "
        "where timestamp >= %s and timestamp < %s and site_id = %s",
        [start, end, site],
    ).fetchall()
    expected = {(b, t): 0 for b in buckets for t in ("view", "click", "location")}
    for moment, event_type in rows:
        expected[buckets[bisect_right(buckets, moment) - 1], event_type] += 1
    answer = connection.execute(OVER_TIME, [interval, start, end, zone, site]).fetchall()
    assert {(bucket, event_type): count for bucket, event_type, count in answer} == expected
    assert [bucket for bucket, *_ in answer[::3]] == buckets


def total(connection: Connection, interval: str, start: Any, end: Any) -> list[tuple[Any, int]]:
    answer = connection.execute(OVER_TIME, [interval, start, end, "UTC", 1]).fetchall()
    return [
        (answer[n][0], sum(count for *_, count in answer[n : n + 3]))
        for n in range(0, len(answer), 3)
    ]


def test_an_open_start_is_the_first_event_and_an_open_end_is_now(connection: Connection) -> None:
    assert total(connection, "day", None, None) == []
    now = datetime.now(UTC)
    connection.execute(
        INSERT, [[now - timedelta(days=3), now - timedelta(days=2)], [1, 1], ["view", "click"]]
    )
    for _ in range(2):
        days = total(connection, "day", None, None)
        assert [count for _, count in days][:2] == [1, 1]
        assert sum(count for _, count in days) == 2
        assert days[0][0] == (now - timedelta(days=3)).replace(
            hour=0, minute=0, second=0, microsecond=0
        )
        assert days[-1][0].date() >= now.date()
        refresh_all(connection)


def test_an_open_end_holds_events_that_are_ahead_of_the_clock(connection: Connection) -> None:
    ahead = datetime.now(UTC) + timedelta(days=2)
    connection.execute(INSERT, [[ahead], [1], ["view"]])
    days = total(connection, "day", ahead - timedelta(days=4), None)
    assert days[-1] == (ahead.replace(hour=0, minute=0, second=0, microsecond=0), 1)


def test_the_first_and_last_bucket_are_cut_at_the_ends(connection: Connection) -> None:
    fill(connection, "2025-05-01", "2025-05-03 23:59", "1 hour")
    answer = total(connection, "day", "2025-05-01 12:00+00", "2025-05-03 00:30+00")
    assert [(bucket.day, count) for bucket, count in answer] == [(1, 12), (2, 24), (3, 1)]


@pytest.mark.parametrize("interval", INTERVALS)
def test_more_than_10000_buckets_are_refused(connection: Connection, interval: str) -> None:
    year = datetime(2000, 1, 1, tzinfo=UTC)
    for end in (datetime(4000, 1, 1, tzinfo=UTC), "infinity"):
        with pytest.raises(psycopg.DatabaseError, match="more than 10000 buckets") as caught:
            connection.execute(STARTS, [interval, year, end, "UTC"])
        assert caught.value.sqlstate == "TM002"


@pytest.mark.parametrize(
    ("interval", "width"), [("minute", HOUR / 60), ("hour", HOUR), ("day", DAY)]
)
def test_10000_buckets_are_answered(
    connection: Connection, interval: str, width: timedelta
) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    end = start + 10_000 * width
    assert len(starts(connection, interval, start, end, "UTC")) == 10_000
    with pytest.raises(psycopg.DatabaseError, match="more than 10000 buckets"):
        starts(connection, interval, start, end + timedelta(seconds=1), "UTC")


@pytest.mark.parametrize(("interval", "zone"), [("year", "UTC"), ("day", "Mars/Olympus")])
def test_what_is_no_interval_or_zone_is_refused(
    connection: Connection, interval: str, zone: str
) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        starts(connection, interval, start, start + HOUR, zone)
