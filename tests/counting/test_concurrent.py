"""Writers, refreshers, a converter and readers at once.

Every count is between what was acknowledged before it and what was sent before its end, and exact
at rest.

COUNTING_SECONDS is how long they run: half of it without conversions to columnstore and back, when
REPEATABLE READ readers must agree with the raw COUNT of their transaction, and half with them. A
conversion beside writes into the same chunk can hide rows from any one statement, a raw COUNT too,
once in many thousand counts: there a count that is outside must be within when it is asked again.
"""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from psycopg import Connection, errors

from tests.counting.counts import (
    LEVELS,
    assert_exact,
    connect,
    counted,
    differing_buckets,
    fill,
    raw,
    refresh,
    refresh_all,
    repeatable_read,
    wrong_buckets,
)
from tests.counting.ledger import ALL, Change, Ledger, Row

SECONDS = float(os.environ.get("COUNTING_SECONDS", "20"))
WRITERS = 3
TYPES = ("view", "click", "location")
KINDS = (ALL, *TYPES)
LONGEST_TRANSACTION_SECONDS = 3.0
DAYS = 6

# What a transaction meets that is in the way of others; it is rolled back and not entered.
IN_THE_WAY = (
    errors.DeadlockDetected,
    errors.SerializationFailure,
    errors.LockNotAvailable,
    errors.ObjectNotInPrerequisiteState,
)


class Missed(Exception):
    """A row of ours was not found: it was just being converted; the transaction is given up."""


class RolledBack(Exception):
    """The writer has changed its mind."""


class Crowd:
    """All that runs on one database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.now = datetime.now(UTC)
        self.ledger = Ledger(_ranges(self.now))
        self.stop = threading.Event()
        self.commits = self.given_up = self.compared = self.conversions = self.missed = 0
        self.refreshes = 0

    def moment(self, dice: random.Random) -> datetime:
        """Return one of the last days, often an edge, often of just now."""
        if dice.random() < 0.3:
            return datetime.now(UTC) - timedelta(milliseconds=dice.randrange(1000))
        minutes = dice.randrange(DAYS * 1440)
        at = self.now.replace(second=0, microsecond=0) - timedelta(minutes=minutes)
        return at + timedelta(microseconds=dice.choice((0, -1, 1, dice.randrange(60_000_000))))


@pytest.mark.native(reason="needs transactions side by side")
@pytest.mark.timeout(180 + 3 * SECONDS)
def test_every_count_is_within_the_ledger_and_exact_at_rest(quiet_url: str) -> None:
    crowd = Crowd(quiet_url)
    _run(crowd, [*_writers(crowd), *_refreshers(crowd), *_readers(crowd)], SECONDS / 2)
    _assert_exact_at_rest(crowd)
    crowd.stop.clear()
    with_conversions = [*_writers(crowd), *_refreshers(crowd), lambda: _convert(crowd)]
    within_ledger = [lambda: _read(crowd, 1, tries=3), lambda: _read(crowd, 2, tries=3)]
    _run(crowd, [*with_conversions, *within_ledger], SECONDS / 2)
    _assert_exact_at_rest(crowd)
    print(
        f"{crowd.compared} counts, {crowd.commits} commits, {crowd.given_up} given up, "
        f"{crowd.refreshes} refreshes, {crowd.conversions} conversions, {crowd.missed} asked again"
    )
    assert min(crowd.compared, crowd.commits, crowd.refreshes, crowd.conversions) > 0


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


def _writers(crowd: Crowd) -> list[Callable[[], None]]:
    return [lambda seed=seed: _write(crowd, seed) for seed in range(WRITERS)]  # type: ignore[misc]


def _refreshers(crowd: Crowd) -> list[Callable[[], None]]:
    return [lambda level=level: _refresh(crowd, level) for level in LEVELS]  # type: ignore[misc]


def _readers(crowd: Crowd) -> list[Callable[[], None]]:
    return [
        lambda: _read(crowd, 1),
        lambda: _read_in_one_snapshot(crowd),
        lambda: _check_levels(crowd),
    ]


def _run(crowd: Crowd, tasks: list[Callable[[], None]], seconds: float) -> None:
    """Run all of it for a while, or until one fails."""
    with ThreadPoolExecutor(len(tasks)) as pool:
        running = [pool.submit(_until_stopped, crowd, task) for task in tasks]
        crowd.stop.wait(seconds)
        crowd.stop.set()
    for task in running:
        task.result()


def _until_stopped(crowd: Crowd, task: Callable[[], None]) -> None:
    try:
        task()
    except BaseException:
        crowd.stop.set()
        raise


def _write(crowd: Crowd, seed: int) -> None:
    """Add, delete and retype rows of its own, in transactions of every kind."""
    dice = random.Random(seed)
    mine: list[Row] = []
    with connect(crowd.url) as connection:
        while not crowd.stop.is_set():
            try:
                with _committed(crowd, connection, dice) as change:
                    for _ in range(dice.choice((1, 1, 2))):
                        _change(crowd, connection, dice, mine, change)
            except (*IN_THE_WAY, Missed, RolledBack):
                crowd.given_up += 1
            else:
                crowd.commits += 1
                gone = {row.event_id for row in change.deleted}
                retyped = {new.event_id: new for _, new in change.retyped}
                mine = [
                    retyped.get(row.event_id, row)
                    for row in mine + change.added
                    if row.event_id not in gone
                ]


@contextmanager
def _committed(crowd: Crowd, connection: Connection, dice: random.Random) -> Iterator[Change]:
    """A transaction, and what it changes: entered before its COMMIT, and after."""
    change = Change()
    level = dice.choice(("read committed", "repeatable read", "serializable"))
    connection.execute(f"begin isolation level {level}")
    try:
        yield change
        if dice.random() < 0.03:
            crowd.stop.wait(dice.random() * LONGEST_TRANSACTION_SECONDS)
        if dice.random() < 0.15:
            raise RolledBack
        crowd.ledger.send(change)
        try:
            connection.execute("commit")
        except psycopg.Error:
            crowd.ledger.withdraw(change)
            raise
        crowd.ledger.acknowledge(change)
    except BaseException:
        connection.execute("rollback")
        raise


def _change(
    crowd: Crowd, connection: Connection, dice: random.Random, mine: list[Row], change: Change
) -> None:
    touched = {row.event_id for row in change.deleted}
    touched |= {old.event_id for old, _ in change.retyped}
    left = [row for row in mine if row.event_id not in touched]
    kind = dice.random()
    if kind < 0.5 or len(left) < 10:
        rows = [
            Row(crowd.moment(dice), uuid4(), dice.choice(TYPES))
            for _ in range(dice.randrange(1, 12))
        ]
        _insert(connection, rows)
        change.added += rows
    elif kind < 0.75:
        for row in dice.sample(left, dice.randrange(1, 4)):
            _one(connection, "delete from events where timestamp = %s and event_id = %s", row)
            change.deleted.append(row)
    else:
        for row in dice.sample(left, dice.randrange(1, 4)):
            new = replace(row, event_type=dice.choice(TYPES))
            retype = f"update events set event_type = '{new.event_type}'"
            _one(connection, f"{retype} where timestamp = %s and event_id = %s", row)
            change.retyped.append((row, new))


def _insert(connection: Connection, rows: list[Row]) -> None:
    columns = "(timestamp, event_id, user_id, event_type, payload)"
    with connection.cursor() as cursor:
        if len(rows) > 6:
            with cursor.copy(f"copy events {columns} from stdin") as copy:
                for row in rows:
                    copy.write_row((row.timestamp, row.event_id, "x", row.event_type, "{}"))
        else:
            cursor.executemany(
                f"insert into events {columns} values (%s, %s, 'x', %s, '{{}}')",
                [(row.timestamp, row.event_id, row.event_type) for row in rows],
            )


def _one(connection: Connection, statement: str, row: Row) -> None:
    found = connection.execute(statement.encode(), [row.timestamp, row.event_id]).rowcount
    if found != 1:
        raise Missed


def _refresh(crowd: Crowd, level: str) -> None:
    """Refresh all, or a part that no bucket begins or ends with."""
    dice = random.Random(level)
    with connect(crowd.url) as connection:
        while not crowd.stop.is_set():
            start = crowd.moment(dice)
            if dice.random() < 0.5:
                refresh(connection, level)
            else:
                refresh(connection, level, start, start + timedelta(days=2, minutes=1))
            crowd.refreshes += 1
            crowd.stop.wait(dice.random() / 4)


def _convert(crowd: Crowd) -> None:
    """Make chunks columns, and rows again, while they are written to."""
    dice = random.Random("convert")
    with connect(crowd.url) as connection:
        while not crowd.stop.is_set():
            chunks = connection.execute(
                """
                select format('%I.%I', chunk_schema, chunk_name), is_compressed
                from timescaledb_information.chunks where hypertable_name = 'events'
                """
            ).fetchall()
            if not chunks:
                continue
            chunk, is_columns = dice.choice(chunks)
            try:
                to = "rowstore" if is_columns else "columnstore"
                connection.execute(f"call convert_to_{to}(%s)", [chunk])
                crowd.conversions += 1
            except (*IN_THE_WAY, errors.DuplicateObject):
                crowd.given_up += 1


def _read(crowd: Crowd, seed: int, tries: int = 1) -> None:
    """Count as the service does; each count must be within the ledger."""
    dice = random.Random(seed)
    with connect(crowd.url) as connection:
        while not crowd.stop.is_set():
            number = dice.randrange(len(crowd.ledger.ranges))
            for left in reversed(range(tries)):
                outside = _outside(crowd, number, lambda *ends: counted(connection, *ends))
                if not outside:
                    break
                crowd.missed += 1
                assert left, outside


def _read_in_one_snapshot(crowd: Crowd) -> None:
    """Count in REPEATABLE READ: it must be the raw COUNT too."""
    dice = random.Random("snapshot")
    with connect(crowd.url) as connection:

        def twice(start: datetime, end: datetime) -> dict[str, int]:
            with repeatable_read(connection):
                counts = counted(connection, start, end)
                assert counts == raw(connection, start, end)
                assert counts == counted(connection, start, end)
            return counts

        while not crowd.stop.is_set():
            number = dice.randrange(len(crowd.ledger.ranges))
            assert _outside(crowd, number, twice) == []


def _outside(
    crowd: Crowd, number: int, count: Callable[[datetime, datetime], dict[str, int]]
) -> list[tuple[str, int, int, int]]:
    """Count a range, and return what is not within the ledger: type, lowest, count, highest."""
    before = crowd.ledger.before(number, KINDS)
    counts = count(*crowd.ledger.ranges[number])
    after = crowd.ledger.after(number, KINDS)
    counts[ALL] = sum(counts.values())
    crowd.compared += 1
    bounds = [
        (
            kind,
            before[kind][0] - after[kind][1],
            counts.get(kind, 0),
            after[kind][0] - before[kind][1],
        )
        for kind in KINDS
    ]
    return [bound for bound in bounds if not bound[1] <= bound[2] <= bound[3]]


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
            kept = crowd.ledger.before(number, TYPES)
            there = {kind: plus - minus for kind, (plus, minus) in kept.items() if plus > minus}
            assert counted(connection, start, end) == there
        for level in LEVELS:
            assert wrong_buckets(connection, level) == []
        refresh_all(connection)
        for level in LEVELS:
            assert differing_buckets(connection, level) == []


def _ranges(now: datetime) -> list[tuple[datetime, datetime]]:
    """Return everything, whole days, quarter hours and minutes, and edges of every kind."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    minute = now.replace(second=0, microsecond=0)
    first = today - timedelta(days=DAYS + 1)
    tomorrow = today + timedelta(days=2)
    odd = timedelta(hours=7, minutes=38, seconds=13, microseconds=123457)
    return [
        (first, tomorrow),
        (today - timedelta(days=3), today),
        (first + timedelta(days=1), tomorrow),
        (today - timedelta(days=4) + odd, today - timedelta(days=1) - odd),
        (today - timedelta(hours=30), today - timedelta(hours=3, minutes=45)),
        (minute - timedelta(hours=40), minute - timedelta(minutes=3)),
        (minute - timedelta(days=2), minute),
        (now - timedelta(hours=50), tomorrow),
    ]
