"""Locks, statements and connections: what sessions do beside each other."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest
from psycopg import Connection, errors

from tests.counting.counts import fill
from tests.dashboards.conftest import PERSON, Connect
from tests.dashboards.rows import awaited_row, matching, only_row, rows

pytestmark = pytest.mark.native(reason="the embedded server shows no sessions")


@contextmanager
def running(connection: Connection, statement: bytes) -> Iterator[None]:
    """Let a statement run beside the test, and cancel it afterwards."""

    def run() -> None:
        with suppress(errors.QueryCanceled):
            connection.execute(statement)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        connection.cancel_safe()
        thread.join(20)


def test_who_waits_for_a_lock_and_who_has_it(connect: Connect, connection: Connection) -> None:
    holder, waiter = connect(), connect()
    with holder.transaction():
        holder.execute("lock table ingest_minutes in share mode")
        with running(waiter, b"update ingest_minutes set events = 0"):
            row = awaited_row(connection, "locks", pid=waiter.info.backend_pid)
    assert row["blocker_pid"] == holder.info.backend_pid
    assert row["relation"] == "ingest_minutes"
    assert row["mode"] == "RowExclusiveLock"
    assert row["blocker_state"] == "idle in transaction"
    assert row["blocker_application"] == PERSON
    assert row["statement"] == "update ingest_minutes set events = 0"
    assert "in share mode" in row["blocker_statement"]
    assert row["waiting"] <= row["blocker_transaction"]
    assert rows(connection, "locks") == []


def test_a_lock_that_is_waited_for_long_is_a_warning(
    connect: Connect, connection: Connection
) -> None:
    holder, waiter = connect(), connect()
    with holder.transaction():
        holder.execute("lock table events in access exclusive mode")
        with running(waiter, b"select count(*) from events"):
            assert awaited_row(connection, "locks")["status"] == "ok"
            assert awaited_row(connection, "locks", status="warning")["waiting"].seconds >= 10


def test_a_running_statement(connect: Connect, connection: Connection) -> None:
    sleeper = connect()
    with running(sleeper, b"select pg_sleep(60)"):
        row = awaited_row(connection, "running_statements", pid=sleeper.info.backend_pid)
        later = only_row(connection, "running_statements", pid=sleeper.info.backend_pid)
    assert row["statement"] == "select pg_sleep(60)"
    assert row["application"] == PERSON
    assert later["running"] > row["running"]
    assert not matching(connection, "running_statements", pid=sleeper.info.backend_pid)


def test_a_connection_that_idles_in_a_transaction(connect: Connect, connection: Connection) -> None:
    idler, state = connect(), "idle in transaction"
    before = only_row(connection, "connections", application="(all)")
    assert not matching(connection, "connections", application=PERSON, state=state)
    with idler.transaction():
        idler.execute("select 1")
        row = awaited_row(connection, "connections", application=PERSON, state=state)
    assert row["connections"] == 1
    assert row["longest_transaction"] >= row["longest_state"]
    assert before["connections"] >= 2


def test_the_sum_of_connections_warns_before_there_are_none_left(connection: Connection) -> None:
    row = only_row(connection, "connections", application="(all)")
    limit = int(connection.execute("show max_connections").fetchall()[0][0])
    assert float(row["percent_of_max"]) == pytest.approx(100 * row["connections"] / limit, abs=0.1)
    assert (row["status"] == "warning") == (row["connections"] >= 0.8 * limit)


def test_a_slow_statement(connection: Connection) -> None:
    statements_are_counted(connection)
    for _ in range(2):
        connection.execute("select pg_sleep(0.2) as slow_one")
    row = only_row(connection, "slow_statements", statement="select pg_sleep($1) as slow_one")
    assert row["calls"] == 2
    assert row["mean_ms"] >= 200
    assert row["max_ms"] >= row["mean_ms"]
    assert 0 < row["percent"] <= 100


def test_statements_wherever_the_extension_is(connection: Connection) -> None:
    statements_are_counted(connection)
    connection.execute("create schema elsewhere")
    connection.execute("alter extension pg_stat_statements set schema elsewhere")
    assert rows(connection, "slow_statements")
    connection.execute("drop extension pg_stat_statements")
    assert rows(connection, "slow_statements") == []


def statements_are_counted(connection: Connection) -> None:
    """Skip on a server that does not count statements."""
    try:
        connection.execute("select from pg_stat_statements limit 1")
    except psycopg.Error:
        pytest.skip("pg_stat_statements is off on this server")


def test_reading_shows_in_the_cache(connection: Connection) -> None:
    fill(connection, "2025-05-01 00:00Z", "2025-05-04 00:00Z", "1 minute")
    before = only_row(connection, "cache_hits", hypertable="events")
    for _ in range(3):
        connection.execute("select sum(length(payload::text)) from events")
    connection.execute("select pg_stat_force_next_flush()")
    connection.execute("select 1")
    after = only_row(connection, "cache_hits", hypertable="events")
    assert after["table_hits"] > before["table_hits"]
    assert 0 < after["table_percent"] <= 100


def test_an_unused_index_and_its_use(connection: Connection) -> None:
    fill(connection, "2025-05-01 00:00Z", "2025-05-03 12:00Z", "1 minute")
    connection.execute("create index events_by_site on events (site_id, event_id)")
    unused = only_row(connection, "index_use", index="events_by_site")
    assert (unused["hypertable"], unused["scans"], unused["status"]) == ("events", 0, "unused")
    assert unused["total_bytes"] == index_bytes(connection, "events_by_site")
    connection.execute("set enable_seqscan = off")
    connection.execute("set enable_bitmapscan = off")
    connection.execute("select from events where site_id = 5 and event_id = gen_random_uuid()")
    connection.execute("select pg_stat_force_next_flush()")
    connection.execute("select 1")
    used = only_row(connection, "index_use", index="events_by_site")
    assert used["scans"] >= 3, "each of three chunks was looked into"
    assert used["status"] == "ok"
    assert only_row(connection, "index_use", index="events_pkey")["keeps"] == "unique"


def index_bytes(connection: Connection, index: str) -> int:
    """Return what TimescaleDB says of the size of a hypertable's index, less the empty parent."""
    query = "select hypertable_index_size(%s)"
    return int(connection.execute(query, [index]).fetchall()[0][0])
