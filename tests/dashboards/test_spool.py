"""What the spools of all instances hold, and what came back from there."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest
from psycopg import Connection

from tests.dashboards.roles import rights_of
from tests.dashboards.rows import matching, only_row, rows
from tests.http.support import event
from tests.support.databases import blocked_table
from tests.support.services import running_service, wait_until_replayed

TELL = """
insert into ingest_minutes (
    minute, instance, events, flushes, not_stored, spooled, replayed, refused, spool_bytes
)
values (%s, %s, %s, 1, 0, %s, %s, %s, %s)
"""
EVENTS = 7


@pytest.fixture
def now() -> datetime:
    """The start of this minute."""
    return datetime.now(UTC).replace(second=0, microsecond=0)


def tell(
    connection: Connection,
    instance: str,
    now: datetime,
    bytes_by_minutes_ago: dict[int, int],
    *,
    refused: int = 0,
) -> None:
    """Insert what an instance tells of some minutes: at the end of each its spool had so much."""
    for ago, size in bytes_by_minutes_ago.items():
        minute = now - timedelta(minutes=ago)
        connection.execute(TELL, [minute, instance, 0, 3, 2, refused, size])


def statuses(connection: Connection, dashboard: str) -> Sequence[tuple[str, str]]:
    """Return each instance with its status."""
    return sorted((row["instance"], row["status"]) for row in rows(connection, dashboard))


def test_an_outage_is_told_after_it(database_url: str, native: bool) -> None:
    with running_service(
        database_url=database_url, ingest_deadline_seconds=0.6, read_deadline_seconds=0.5
    ) as base_url:
        with blocked_table(database_url, native=native):
            for _ in range(EVENTS):
                answer = httpx.post(f"{base_url}/events", json=event(), timeout=20)
                assert answer.status_code == 202
        wait_until_replayed(base_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        with rights_of(connection, "tallymark_ops"):
            (state,) = rows(connection, "spool")
            minutes = rows(connection, "replay")
        assert connection.execute("select count(*) from events").fetchone() == (EVENTS,)
        told = connection.execute("select sum(events) from ingest_minutes").fetchone()
    assert told == (EVENTS,), "what is spooled is not counted once more when it comes back"
    assert (state["spool_bytes"], state["waiting"], state["status"]) == (0, None, "ok")
    assert 0 < state["spooled"] == state["replayed"] <= EVENTS
    assert state["refused"] == 0
    assert sum(minute["spooled"] for minute in minutes) == state["spooled"]
    assert sum(minute["replayed"] for minute in minutes) == state["replayed"]
    assert minutes[0]["spool_bytes"] == 0


def test_a_service_that_ends_tells_what_it_leaves(database_url: str, native: bool) -> None:
    with (
        blocked_table(database_url, native=native),
        running_service(database_url=database_url, ingest_deadline_seconds=0.6) as base_url,
    ):
        assert httpx.post(f"{base_url}/events", json=event(), timeout=20).status_code == 202
    if not native:  # No other session could be told meanwhile.
        return
    with psycopg.connect(database_url, autocommit=True) as connection:
        (state,) = rows(connection, "spool")
    assert state["spool_bytes"] > 0
    assert (state["spooled"], state["replayed"], state["status"]) == (1, 0, "ok")


def test_what_waits_long_is_a_warning(connection: Connection, now: datetime) -> None:
    tell(connection, "long:1", now, dict.fromkeys(range(1, 30), 100))
    tell(connection, "short:1", now, {20: 100, 9: 0, **dict.fromkeys(range(1, 5), 100)})
    tell(connection, "empty:1", now, {20: 100, 10: 0})
    assert statuses(connection, "spool") == [
        ("empty:1", "ok"),
        ("long:1", "warning"),
        ("short:1", "ok"),
    ]
    row = only_row(connection, "spool", instance="short:1")
    assert (row["spool_bytes"], row["waiting"]) == (100, timedelta(minutes=4))
    assert (row["spooled"], row["replayed"], row["said_at"]) == (18, 12, now)
    assert only_row(connection, "spool", instance="empty:1")["waiting"] is None


def test_an_instance_that_has_gone_with_events_is_a_warning_until_another_has_them(
    connection: Connection, now: datetime
) -> None:
    tell(connection, "here:1", now, {5: 100, 6: 100})
    tell(connection, "there:1", now, {5: 100, 6: 100})
    tell(connection, "there:2", now, {3: 0})
    assert statuses(connection, "spool") == [
        ("here:1", "warning"),
        ("there:1", "ok"),
        ("there:2", "ok"),
    ]


def test_a_refusal_is_a_warning(connection: Connection, now: datetime) -> None:
    tell(connection, "a:1", now, {2: 0}, refused=1)
    tell(connection, "a:1", now, {1: 0})
    found = [(row["refused"], row["status"]) for row in rows(connection, "replay")]
    assert found == [(0, "ok"), (1, "warning")]


@pytest.mark.parametrize("dashboard", ["spool", "replay"])
def test_what_an_older_release_tells_is_passed_over(
    connection: Connection, dashboard: str, now: datetime
) -> None:
    connection.execute(
        "insert into ingest_minutes (minute, instance, events, flushes, not_stored) "
        "values (%s, 'old:1', 5, 1, 0)",
        [now - timedelta(minutes=1)],
    )
    assert matching(connection, dashboard, instance="old:1") == []
    assert matching(connection, "ingest_latency", instance="old:1")


def test_a_minute_of_the_spool_alone_is_none_of_ingest(
    connection: Connection, now: datetime
) -> None:
    connection.execute(
        "insert into ingest_minutes values "
        "(%s, 'a:1', 0, 0, 0, null, null, null, null, 0, 5, 0, 0)",
        [now - timedelta(minutes=1)],
    )
    assert rows(connection, "ingest_latency") == []
    assert only_row(connection, "replay", instance="a:1")["replayed"] == 5
