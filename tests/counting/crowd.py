"""Writers, refreshers and a converter that run at once on one database, and what they have done."""

import json
import os
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import uuid4

import psycopg
from psycopg import Connection, errors

from tests.counting.counts import connect, refresh
from tests.counting.ledger import Change, Ledger, Row
from tests.counting.steps import TYPES

SECONDS = float(os.environ.get("COUNTING_SECONDS", "20"))
WRITERS = 3
USERS = tuple(f"user-{number}" for number in range(12))
PAGES = ("/", "/a", "/b", "/c")
ELEMENTS = ("buy", "more", "x")
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


Task = Callable[[], None]
Answer = TypeVar("Answer")
Bounds = dict[str, tuple[int, int]]
"""The least and the most that may be counted of each kind."""


class Crowd:
    """All that runs on one database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.now = datetime.now(UTC)
        self.ledger = Ledger(_ranges(self.now))
        self.stop = threading.Event()
        self.commits = self.given_up = self.compared = self.conversions = self.missed = 0
        self.refreshes = 0
        self._make_chunks_of_levels()

    def run(self, tasks: list[Task], seconds: float) -> None:
        """Run all of it for a while, or until one fails."""
        self.stop.clear()
        with ThreadPoolExecutor(len(tasks)) as pool:
            running = [pool.submit(_until_stopped, self, task) for task in tasks]
            self.stop.wait(seconds)
            self.stop.set()
        for task in running:
            task.result()

    def writers(self) -> list[Task]:
        """Return tasks that write, each rows of its own."""
        return [lambda seed=seed: _write(self, seed) for seed in range(WRITERS)]  # type: ignore[misc]

    def refreshers(self, *groups: tuple[str, ...]) -> list[Task]:
        """Return tasks that refresh, each a group of levels."""
        return [lambda levels=levels: _refresh(self, levels) for levels in groups]  # type: ignore[misc]

    def converter(self) -> Task:
        """Return a task that makes chunks columns, and rows again, while they are written to."""
        return lambda: _convert(self)

    def asked(
        self, number: int, kinds: Iterable[str], ask: Callable[[datetime, datetime], Answer]
    ) -> tuple[Answer, Bounds]:
        """Return what is said of a range, and what may be true of these kinds meanwhile."""
        kinds = list(kinds)
        before = self.ledger.before(number, kinds)
        answer = ask(*self.ledger.ranges[number])
        after = self.ledger.after(number, kinds)
        self.compared += 1
        return answer, {
            kind: (before[kind][0] - after[kind][1], after[kind][0] - before[kind][1])
            for kind in kinds
        }

    def each_range(self, seed: object, check: Callable[[int], object], tries: int = 1) -> None:
        """Check ranges by their numbers until all stops: each once, or again if something is wrong.

        A check returns what is wrong.
        """
        dice = random.Random(str(seed))
        while not self.stop.is_set():
            number = dice.randrange(len(self.ledger.ranges))
            for left in reversed(range(tries)):
                wrong = check(number)
                if not wrong:
                    break
                self.missed += 1
                assert left, wrong

    def kept(self, number: int, kinds: Iterable[str]) -> dict[str, int]:
        """Return how many of these kinds there are in a range at rest, but for those with none."""
        sums = self.ledger.before(number, kinds)
        return {kind: plus - minus for kind, (plus, minus) in sums.items() if plus > minus}

    def report(self) -> None:
        """Print how much was done, and fail if something was not done at all."""
        print(
            f"{self.compared} counts, {self.commits} commits, {self.given_up} given up, "
            f"{self.refreshes} refreshes, {self.conversions} conversions, {self.missed} asked again"
        )
        assert min(self.compared, self.commits, self.refreshes, self.conversions) > 0

    def _make_chunks_of_levels(self) -> None:
        """Let every level have its chunks, which are a year wide at least.

        PostgreSQL shows a transaction's rows to others a moment before it tells them that the plans
        that they keep are out of date. A count in between would miss a level's new chunk.
        """
        with connect(self.url) as connection:
            ends = [self.now - timedelta(days=days) for days in (DAYS + 1, 1)]
            _insert(connection, [replace(self.row(random.Random(1)), timestamp=at) for at in ends])
            for kind in ("click", "view"):
                connection.execute("update events set event_type = %s", [kind])
                connection.execute("call refresh_counts()")
            connection.execute("delete from events")

    def moment(self, dice: random.Random) -> datetime:
        """Return one of the last days, often an edge, often of just now."""
        if dice.random() < 0.3:
            return datetime.now(UTC) - timedelta(milliseconds=dice.randrange(1000))
        minutes = dice.randrange(DAYS * 1440)
        at = self.now.replace(second=0, microsecond=0) - timedelta(minutes=minutes)
        return at + timedelta(microseconds=dice.choice((0, -1, 1, dice.randrange(60_000_000))))

    def row(self, dice: random.Random) -> Row:
        """Return an event of anybody, anywhere."""
        return Row(
            self.moment(dice),
            uuid4(),
            dice.choice(TYPES),
            dice.choice(USERS),
            dice.choice(PAGES),
            dice.choice(ELEMENTS),
        )


def outside(counts: dict[str, int], bounds: Bounds) -> list[tuple[str, int, int, int]]:
    """Return what is not within its bounds: kind, lowest, count, highest."""
    none = (0, 0)
    found = [(kind, counts.get(kind, 0), *bounds.get(kind, none)) for kind in counts | bounds]
    return [
        (kind, lowest, count, highest)
        for kind, count, lowest, highest in found
        if not lowest <= count <= highest
    ]


def _until_stopped(crowd: Crowd, task: Task) -> None:
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
        rows = [crowd.row(dice) for _ in range(dice.randrange(1, 12))]
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
    values = [
        (
            row.timestamp,
            row.event_id,
            row.user_id,
            row.event_type,
            json.dumps({"url": row.page, "element_id": row.element}),
        )
        for row in rows
    ]
    with connection.cursor() as cursor:
        if len(rows) > 6:
            with cursor.copy(f"copy events {columns} from stdin") as copy:
                for value in values:
                    copy.write_row(value)
        else:
            cursor.executemany(f"insert into events {columns} values (%s, %s, %s, %s, %s)", values)


def _one(connection: Connection, statement: str, row: Row) -> None:
    found = connection.execute(statement.encode(), [row.timestamp, row.event_id]).rowcount
    if found != 1:
        raise Missed


def _refresh(crowd: Crowd, levels: tuple[str, ...]) -> None:
    """Refresh all, or a part that no bucket begins or ends with."""
    dice = random.Random(levels[0])
    with connect(crowd.url) as connection:
        while not crowd.stop.is_set():
            level = dice.choice(levels)
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
