"""Writers, refreshers, a converter and readers at once.

Every count is between what was acknowledged before it and what was sent before its end, and exact
at rest.

COUNTING_SECONDS is how long they run: half of it without conversions to columnstore and back, when
REPEATABLE READ readers must agree with the raw COUNT of their transaction, and half with them. A
conversion beside writes into the same chunk can hide rows from any one statement, a raw COUNT too,
once in many thousand counts: there a count that is outside must be within when it is asked again.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from tests.counting.counts import (
    LEVELS,
    assert_exact,
    connect,
    counted,
    differing_buckets,
    fill,
    raw,
    refresh_all,
    repeatable_read,
    wrong_buckets,
)
from tests.counting.crowd import SECONDS, Crowd, Task, outside
from tests.counting.ledger import ALL
from tests.counting.steps import TYPES


@pytest.mark.native(reason="needs transactions side by side")
@pytest.mark.timeout(180 + 3 * SECONDS)
def test_every_count_is_within_the_ledger_and_exact_at_rest(quiet_url: str) -> None:
    crowd = Crowd(quiet_url)
    tasks = [*crowd.writers(), *crowd.refreshers(*((level,) for level in LEVELS))]
    crowd.run([*tasks, *_readers(crowd)], SECONDS / 2)
    _assert_exact_at_rest(crowd)
    within_ledger = [lambda: _read(crowd, 1, tries=3), lambda: _read(crowd, 2, tries=3)]
    crowd.run([*tasks, crowd.converter(), *within_ledger], SECONDS / 2)
    _assert_exact_at_rest(crowd)
    crowd.report()


@pytest.mark.native(reason="needs conversions beside counts")
def test_conversions_of_chunks_that_nobody_writes_to_hide_nothing(quiet_url: str) -> None:
    stop = threading.Event()
    with connect(quiet_url) as connection:
        fill(connection, "2025-05-01 00:00+00", "2025-05-03 23:59:59+00", "20 seconds")
        there = raw(connection, None, None)
        with ThreadPoolExecutor(1) as pool:
            converter = pool.submit(_convert_all, quiet_url, stop)
            deadline = time.monotonic() + SECONDS / 4
            try:
                while time.monotonic() < deadline:
                    assert counted(connection, None, None) == there
            finally:
                stop.set()
        assert converter.result() > 3


def _convert_all(url: str, stop: threading.Event) -> int:
    """Make every chunk columns and rows again; return how often."""
    rounds = 0
    with connect(url) as connection:
        chunks = connection.execute("select show_chunks('events')::text").fetchall()
        while not stop.is_set():
            for to in ("columnstore", "rowstore"):
                for chunk in chunks:
                    connection.execute(f"call convert_to_{to}(%s)".encode(), chunk)
            rounds += 1
    return rounds


def _readers(crowd: Crowd) -> list[Task]:
    return [
        lambda: _read(crowd, 1),
        lambda: _read_in_one_snapshot(crowd),
        lambda: _check_levels(crowd),
    ]


def _read(crowd: Crowd, seed: int, tries: int = 1) -> None:
    """Count as the service does; each count must be within the ledger."""
    with connect(crowd.url) as connection:

        def count(start: datetime, end: datetime) -> dict[str, int]:
            return counted(connection, start, end)

        crowd.each_range(seed, lambda number: _outside(crowd, number, count), tries)


def _read_in_one_snapshot(crowd: Crowd) -> None:
    """Count in REPEATABLE READ: it must be the raw COUNT too."""
    with connect(crowd.url) as connection:

        def twice(start: datetime, end: datetime) -> dict[str, int]:
            with repeatable_read(connection):
                counts = counted(connection, start, end)
                assert counts == raw(connection, start, end)
                assert counts == counted(connection, start, end)
            return counts

        crowd.each_range("snapshot", lambda number: _outside(crowd, number, twice))


def _outside(
    crowd: Crowd, number: int, count: Callable[[datetime, datetime], dict[str, int]]
) -> list[tuple[str, int, int, int]]:
    """Count a range, and return what is not within the ledger: type, lowest, count, highest."""
    counts, bounds = crowd.asked(number, (ALL, *TYPES), count)
    counts[ALL] = sum(counts.values())
    return outside(counts, bounds)


def _check_levels(crowd: Crowd) -> None:
    """Look at every bucket that is not stale, in one snapshot."""
    with connect(crowd.url) as connection:
        while not crowd.stop.is_set():
            for level in LEVELS:
                with repeatable_read(connection):
                    # The snapshot comes before the plan: a plan may lack a level's first chunk.
                    connection.execute("select 1")
                    assert wrong_buckets(connection, level) == []
            crowd.stop.wait(0.2)


def _assert_exact_at_rest(crowd: Crowd) -> None:
    with connect(crowd.url) as connection:
        for number, (start, end) in enumerate(crowd.ledger.ranges):
            assert_exact(connection, start, end)
            assert counted(connection, start, end) == crowd.kept(number, TYPES)
        for level in LEVELS:
            assert wrong_buckets(connection, level) == []
        refresh_all(connection)
        for level in LEVELS:
            assert differing_buckets(connection, level) == []
