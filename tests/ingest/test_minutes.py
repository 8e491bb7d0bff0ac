"""The table ingest_minutes: what an operator reads there is what ingest did."""

import asyncio
import math
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.rows import dict_row

from service.ingest.minutes import KEPT_MINUTES, RESOLUTION, Minute, MinuteReports, Minutes
from tests.support.services import running_service

# Not long ago: the table is kept for 30 days.
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
NOWHERE = "postgresql://postgres@127.0.0.1:1/nothing"

VIEW = {"user_id": "user-42", "event_type": "view", "payload": {"url": "https://example.com/"}}

GROUPS = st.lists(st.tuples(st.integers(1, 100), st.floats(1e-5, 100)), min_size=1, max_size=50)


class Clock:
    """A time of day that moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = NOON.timestamp()

    def __call__(self) -> float:
        """Return seconds since 1970."""
        return self.seconds


def rows(url: str) -> list[dict[str, Any]]:
    """Return the table, in order."""
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        return connection.execute("select * from ingest_minutes order by minute").fetchall()


def report(url: str, minutes: Minutes, *, unfinished: bool = False) -> None:
    """Report once."""
    asyncio.run(MinuteReports(minutes, url).report(unfinished=unfinished))


@given(groups=GROUPS, share=st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_is_that_of_all_the_waits(
    groups: list[tuple[int, float]], share: float
) -> None:
    minutes = Minutes(Clock())
    for events, waited in groups:
        minutes.stored(events, waited)
    [minute] = minutes.take(unfinished=True)
    waits = sorted(waited for events, waited in groups for _ in range(events))
    exact = waits[math.ceil(share * len(waits)) - 1] * 1000
    told = minute.percentile(share)
    assert told is not None
    assert abs(math.log(told / exact)) <= 0.5 / RESOLUTION + 1e-9
    assert told <= max(waits) * 1000


def test_a_minute_is_written_once_it_is_over(database_url: str) -> None:
    minutes = Minutes(clock := Clock())
    minutes.stored(3, 0.010)
    minutes.stored(1, 0.500)
    minutes.not_stored(2)
    report(database_url, minutes)
    assert rows(database_url) == []
    clock.seconds += 60
    minutes.stored(7, 0.001)
    report(database_url, minutes)
    report(database_url, minutes)
    [row] = rows(database_url)
    assert row["minute"] == NOON
    assert (row["events"], row["flushes"], row["not_stored"]) == (4, 2, 2)
    assert 9.7 < row["p50_ms"] < 10.3
    assert 485 < row["p99_ms"] <= row["max_ms"] == 500
    assert ":" in row["instance"]


def test_a_minute_in_which_nothing_was_stored_has_no_waits(database_url: str) -> None:
    minutes = Minutes(Clock())
    minutes.not_stored(5)
    report(database_url, minutes, unfinished=True)
    [row] = rows(database_url)
    assert (row["events"], row["not_stored"], row["p50_ms"], row["max_ms"]) == (0, 5, None, None)


def test_a_quiet_minute_has_no_row(database_url: str) -> None:
    minutes = Minutes(clock := Clock())
    clock.seconds += 600
    report(database_url, minutes, unfinished=True)
    assert rows(database_url) == []


def test_a_minute_tells_what_the_spool_did_and_holds(database_url: str) -> None:
    held = iter([500, 200, 0, 0])
    minutes = Minutes(clock := Clock(), spool_bytes=lambda: next(held))
    minutes.stored(3, 0.010)
    minutes.spooled(2)
    for _ in range(2):  # The second is quiet, but for what waits.
        clock.seconds += 60
        report(database_url, minutes)
    minutes.replayed(1, refused=1)
    for _ in range(2):
        clock.seconds += 60
        report(database_url, minutes)
    names = ("events", "flushes", "spooled", "replayed", "refused", "spool_bytes")
    assert [tuple(row[name] for name in names) for row in rows(database_url)] == [
        (3, 1, 2, 0, 0, 500),
        (0, 0, 0, 0, 0, 200),
        (0, 0, 0, 1, 1, 0),
    ]


def test_minutes_wait_while_the_database_is_away(database_url: str) -> None:
    minutes = Minutes(clock := Clock())
    for _ in range(3):
        minutes.stored(1, 0.010)
        clock.seconds += 60
        report(NOWHERE, minutes)
    report(database_url, minutes)
    assert [row["minute"] for row in rows(database_url)] == [
        NOON + timedelta(minutes=number) for number in range(3)
    ]


def test_minutes_that_were_written_though_nobody_heard_of_it_are_there_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unheard(_: float, work: Awaitable[None]) -> None:
        await work
        raise TimeoutError

    minutes, restarted = Minutes(clock := Clock()), Minutes(clock)
    minutes.stored(3, 0.010)
    # As a container that is started again, with the host and pid of the one before.
    restarted.stored(4, 0.010)
    clock.seconds += 60
    with monkeypatch.context() as patched:
        patched.setattr("service.ingest.minutes.within", unheard)
        report(database_url, minutes)
    assert [row["events"] for row in rows(database_url)] == [3]
    minutes.stored(5, 0.010)
    report(database_url, minutes, unfinished=True)
    report(database_url, restarted)
    assert sorted(row["events"] for row in rows(database_url)) == [3, 4, 5]


def test_only_so_many_wait_and_the_newest_are_kept() -> None:
    minutes = Minutes(clock := Clock())
    for _ in range(KEPT_MINUTES + 5):
        minutes.stored(1, 0.010)
        clock.seconds += 60
        minutes.put_back(minutes.take())
    kept = minutes.take()
    assert len(kept) == KEPT_MINUTES
    assert kept[-1].number == int(clock.seconds) // 60 - 1


def test_the_service_reports_what_it_stored_when_it_ends(database_url: str) -> None:
    with running_service(database_url=database_url) as base_url:
        for _ in range(5):
            assert httpx.post(f"{base_url}/events", json=VIEW).status_code == 202
        assert httpx.post(f"{base_url}/events", json={}).status_code == 400
    found = rows(database_url)
    assert sum(row["events"] for row in found) == 5
    assert all(0 < row["p50_ms"] <= row["max_ms"] < 60_000 for row in found)


def test_an_empty_minute_has_no_percentile() -> None:
    assert Minute(0).percentile(0.5) is None
