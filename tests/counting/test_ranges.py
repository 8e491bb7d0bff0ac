"""Every range that SQL can ask for, by anyone, from any time zone."""

import os
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import Connection, sql

from tests.counting.counts import (
    INSERT,
    LEVELS,
    assert_exact,
    counted,
    fill,
    refresh,
    refresh_all,
    repeatable_read,
)

# The days on which clocks change in Berlin, New York and on Lord Howe Island (by half an hour).
CHANGE_DAYS = ("2025-03-30", "2025-10-26", "2025-03-09", "2025-11-02", "2025-04-06", "2025-10-05")

HOURS = (0, 1, 2, 12, 22, 23)

FAR_MOMENTS = [
    "4713-01-01 00:00:00+00 BC",
    "0044-03-15 12:34:56.789+00 BC",
    "1969-12-31 23:59:59.999999+00",
    "1970-01-01 00:00:00+00",
    "2025-05-01 23:59:59.999999+00",
    "2025-05-02 00:00:00+00",
    "9999-12-31 23:59:59.999999+00",
    "294240-12-31 23:59:59.999999+00",
]
FAR_RANGES = [
    (None, None),
    ("-infinity", "infinity"),
    ("-infinity", "-infinity"),
    ("infinity", "infinity"),
    ("2025-05-02", "2025-05-02"),
    ("4714-11-24 00:00:00+00 BC", "1969-12-31 23:59:59.999999+00"),
    ("4714-11-24 00:00:00+00 BC", "4714-11-24 00:00:00.000001+00 BC"),
    ("1969-12-31 23:59:59.999999+00", "1970-01-01 00:00:00.000001+00"),
    ("0044-03-15 12:34:56.789+00 BC", "9999-12-31 23:59:59.999999+00"),
    ("2025-05-02", "294246-12-30 12:34:56.789+00"),
    ("294246-12-30 12:00:00+00", "infinity"),
]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_counts_do_not_depend_on_the_time_zone_of_the_session(
    connection: Connection, zone: str
) -> None:
    for day in CHANGE_DAYS:
        fill(connection, f"{day} 00:00+00", f"{day} 23:59+00", "10 minutes")
    refresh_all(connection)
    connection.execute("select set_config('timezone', %s, false)", [zone])
    for day in CHANGE_DAYS:
        for hour in HOURS:
            start = f"{day} {hour:02}:30+00"
            assert_exact(connection, start, "2025-12-01 00:00+00")
            assert_exact(connection, "2025-01-01 00:00+00", start)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_what_is_stale_does_not_depend_on_the_time_zone_of_the_session(
    connection: Connection, zone: str
) -> None:
    for day in CHANGE_DAYS:
        fill(connection, f"{day} 00:00+00", f"{day} 23:59+00", "1 hour")
    refresh_all(connection)
    connection.execute("select set_config('timezone', %s, false)", [zone])
    for day in CHANGE_DAYS:
        for hour in HOURS:
            moment = f"{day} {hour:02}:00+00"
            connection.execute("delete from events where timestamp = %s", [moment])
            assert_exact(connection)


def test_an_aggregate_that_is_refreshed_before_the_one_below_it_is_not_trusted(
    connection: Connection,
) -> None:
    for upper, lower in ((1, 0), (2, 1), (2, 0)):
        fill(connection, "2025-05-02 12:05+00", "2025-05-02 12:05+00", "1 minute")
        refresh(connection, LEVELS[upper])
        connection.execute("delete from events")
        refresh(connection, LEVELS[lower])
        assert counted(connection, None, None) == {}
        refresh_all(connection)
        assert counted(connection, None, None) == {}


@pytest.mark.parametrize("level", LEVELS)
def test_rows_that_go_before_their_first_refresh_leave_nothing_behind(
    connection: Connection, level: str
) -> None:
    fill(connection, "2025-05-02 12:05+00", "2025-05-02 12:05+00", "1 minute")
    refresh(connection, level, "2025-05-01", "2025-05-03")
    connection.execute("delete from events")
    for other in LEVELS:
        refresh(connection, other, "2025-05-01", "2025-05-03")
        assert counted(connection, None, None) == {}


def test_the_same_prepared_call_follows_every_change(connection: Connection) -> None:
    for number in range(1, 13):
        fill(connection, "2025-05-02 12:05+00", "2025-05-02 12:05+00", "1 minute")
        assert counted(connection, "2025-05-02", "2025-05-03") == {"view": number}
        if number % 3 == 0:
            refresh_all(connection)
    assert connection.execute("select count(*) > 0 from pg_prepared_statements").fetchone() == (
        True,
    )


@pytest.mark.parametrize("statement", ["truncate events", "select drop_all()"])
def test_nothing_is_counted_after_events_are_emptied(
    connection: Connection, statement: str
) -> None:
    connection.execute(
        """
        create function drop_all() returns void language plpgsql as $$
        declare chunk regclass;
        begin
            for chunk in select show_chunks('events') loop
                execute format('truncate %s', chunk);
            end loop;
        end
        $$
        """
    )
    fill(connection, "2025-05-01", "2025-05-20", "1 hour")
    refresh_all(connection)
    connection.execute(statement)
    assert counted(connection, None, None) == {}
    refresh_all(connection)
    assert counted(connection, None, None) == {}


def test_any_range_that_timescaledb_can_hold_is_counted(connection: Connection) -> None:
    connection.execute(INSERT, [FAR_MOMENTS, [1] * len(FAR_MOMENTS), ["view"] * len(FAR_MOMENTS)])
    for start, end in FAR_RANGES:
        assert_exact(connection, start, end)
    for level in LEVELS:
        refresh(connection, level)
        for start, end in FAR_RANGES:
            assert_exact(connection, start, end)


@pytest.mark.parametrize(
    ("start", "end"), [("infinity", "-infinity"), ("2025-05-02", "2025-05-01")]
)
def test_a_range_that_ends_before_it_starts_holds_nothing(
    connection: Connection, start: str, end: str
) -> None:
    fill(connection, "2025-05-01", "2025-05-02", "1 hour")
    assert counted(connection, start, end) == {}


def test_a_null_argument_means_the_default(connection: Connection) -> None:
    fill(connection, "2025-05-01", "2025-05-02", "1 hour")
    counts = connection.execute("select * from event_counts(null, null, null)").fetchall()
    assert counts == connection.execute("select * from event_counts()").fetchall()
    assert [number for _, number in counts] == [25]


@pytest.mark.parametrize("moment", ["infinity", "-infinity"])
def test_an_event_has_a_moment(connection: Connection, moment: str) -> None:
    """One at infinity would be in no range, since the end of a range is not part of it."""
    with pytest.raises((psycopg.DataError, psycopg.IntegrityError)):
        connection.execute(INSERT, [[moment], [1], ["view"]])


@pytest.fixture
def reader(connection: Connection) -> Iterator[Connection]:
    """The connection as a role that may only read."""
    role = sql.Identifier(f"tallymark_reader_{os.getpid()}")
    connection.execute(sql.SQL("create role {}").format(role))
    connection.execute(sql.SQL("grant select on all tables in schema public to {}").format(role))
    fill(connection, "2025-05-01", "2025-05-20 12:34:56", "1 hour")
    refresh(connection, LEVELS[0], "2025-05-01", "2025-05-10")
    connection.execute(sql.SQL("set role {}").format(role))
    yield connection
    connection.execute("set search_path = public")
    connection.execute("reset role")
    connection.execute(sql.SQL("revoke select on all tables in schema public from {}").format(role))
    connection.execute(sql.SQL("drop role {}").format(role))


def test_a_role_that_may_only_read_can_count(reader: Connection) -> None:
    assert_exact(reader)
    assert counted(reader, "2025-05-01", "2025-05-02 12:00+00") == {"view": 36}
    with repeatable_read(reader):
        reader.execute("set transaction read only")
        assert_exact(reader)


def test_the_search_path_of_the_caller_does_not_matter(reader: Connection) -> None:
    reader.execute("set search_path = ''")
    everything = "select event_type::text, event_count from public.event_counts()"
    assert reader.execute(everything).fetchall() == [("view", 469)]


def test_tables_of_the_caller_do_not_stand_in_for_events(connection: Connection) -> None:
    fill(connection, "2025-05-01", "2025-05-02", "1 hour")
    connection.execute("create temp table events (like events)")
    connection.execute(
        "create temp view event_counts_stale as select * from public.event_counts_stale limit 0"
    )
    try:
        assert counted(connection, None, None) == {"view": 25}
    finally:
        connection.execute("drop table pg_temp.events")
        connection.execute("drop view pg_temp.event_counts_stale")
