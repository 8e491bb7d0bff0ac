"""How long loading takes, and how long a count, with inserts between the counts.

`scripts/bench counts` runs it on a fresh embedded database, or on a new database of the server of
DATABASE_URL, which it drops afterwards. Each count is compared with a raw COUNT of the same range.
"""

import random
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import psycopg
import typer
from psycopg import Connection
from rich.console import Console
from rich.table import Table

from loadtest.databases import fresh_database, load_sample_events, versions

FIRST, LAST = datetime(2025, 5, 1, tzinfo=UTC), datetime(2025, 5, 29, tzinfo=UTC)
RAW = "select count(*) from events where timestamp >= %s and timestamp < %s and site_id = 1"
EXACT = "select coalesce(sum(event_count), 0)::bigint from event_counts(%s, %s)"
INSERT = """
insert into events (timestamp, event_id, user_id, event_type, payload)
values (%s, gen_random_uuid(), 'bench', 'view', '{"url": "/"}')
"""

Range = tuple[datetime, datetime]
Ranges = Callable[[random.Random], Range]


def microsecond_edges(chance: random.Random) -> Range:
    """Return any two instants of the sample's weeks."""
    span = (LAST - FIRST) / timedelta(microseconds=1)
    first, second = sorted(chance.randrange(int(span)) for _ in range(2))
    return FIRST + timedelta(microseconds=first), FIRST + timedelta(microseconds=second + 1)


def whole_days(chance: random.Random) -> Range:
    """Return some whole days."""
    first = FIRST + timedelta(days=chance.randrange(28))
    return first, first + timedelta(days=chance.randint(1, 28))


def until_now(chance: random.Random) -> Range:
    """Return all from some minute on, the events of this moment among them."""
    return FIRST + timedelta(minutes=chance.randrange(28 * 1440)), datetime.now(UTC) + timedelta(1)


KINDS: dict[str, Ranges] = {
    "whole days": whole_days,
    "microsecond edges": microsecond_edges,
    "until now": until_now,
}


def load(url: str, events: int) -> float:
    """Load sample data and refresh the aggregates; return the seconds that it took."""
    started = time.perf_counter()
    load_sample_events(url, events)
    return time.perf_counter() - started


def timed(connection: Connection, query: str, bounds: Range) -> tuple[int, float]:
    """Return a query's number, and the milliseconds that it took."""
    started = time.perf_counter()
    row = connection.execute(query, bounds).fetchone()
    return (row or (0,))[0], (time.perf_counter() - started) * 1000


def measure(
    connection: Connection, ranges: Ranges, counts: int, late_every: int
) -> tuple[list[float], list[float]]:
    """Return the milliseconds of exact and of raw counts, an insert before each pair."""
    chance = random.Random(1)
    exact, raw = [], []
    for number in range(counts):
        late = late_every > 0 and number % late_every == 0
        at = FIRST + (LAST - FIRST) * chance.random() if late else datetime.now(UTC)
        connection.execute(INSERT, [at])
        bounds = ranges(chance)
        counted, milliseconds = timed(connection, EXACT, bounds)
        exact.append(milliseconds)
        truth, milliseconds = timed(connection, RAW, bounds)
        raw.append(milliseconds)
        if counted != truth:
            sys.exit(f"wrong: {counted} instead of {truth} for {bounds}")
    return exact, raw


def main(
    events: Annotated[int, typer.Option(help="How many events to load.")] = 1_000_000,
    counts: Annotated[int, typer.Option(help="How many counts of each kind.")] = 200,
    late_every: Annotated[
        int, typer.Option(help="Each so many inserts one is of the past; 0 is none.")
    ] = 0,
) -> None:
    """Load, then count ranges with inserts between, beside a raw COUNT of the same range."""
    console = Console()
    with fresh_database() as (url, server), psycopg.connect(url, autocommit=True) as connection:
        seconds = load(url, events)
        console.print(
            f"{date.today()}: {events:,} events loaded and refreshed in {seconds:.1f} s "  # noqa: DTZ011
            f"on {server}, {versions(url)}"
        )
        table = Table("range", "median ms", "p95 ms", "max ms", "raw COUNT, median ms", "ratio")
        for name, ranges in KINDS.items():
            exact, raw = measure(connection, ranges, counts, late_every)
            middle, raw_middle = statistics.median(exact), statistics.median(raw)
            p95 = statistics.quantiles(exact, n=20)[-1]
            figures = (middle, p95, max(exact), raw_middle)
            table.add_row(
                name, *(f"{figure:.1f}" for figure in figures), f"{raw_middle / middle:.0f}"
            )
        console.print(table)


if __name__ == "__main__":
    typer.run(main)
