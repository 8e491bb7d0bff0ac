"""How long a refresh of each level takes under load, and what it does to counts beside it.

`scripts/bench refreshes` writes and counts on a new database of the server of DATABASE_URL, which
it drops afterwards, and runs the refresh policies' jobs itself, as often as they would run.
"""

import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated

import psycopg
import typer
from psycopg import Connection
from rich.console import Console
from rich.table import Table

from loadtest.bench.beside import Work, beside
from loadtest.bench.figures import percentile
from loadtest.bench.ways import ours
from loadtest.databases import fresh_database, load_sample_events, versions

DAYS = 60
GROUPS_A_SECOND = 20
INSERT = """
insert into events (timestamp, event_id, user_id, event_type, payload)
select clock_timestamp() - case when random() < %s then random() * interval '7 days' else '0' end,
       gen_random_uuid(), 'bench', 'view', '{"url": "/"}'
from generate_series(1, %s)
"""
POLICIES = """
select view_name, job_id, extract(epoch from schedule_interval)::float8,
       alter_job(job_id, scheduled => false) is not null
from timescaledb_information.jobs as job
join timescaledb_information.continuous_aggregates
    on job.hypertable_name in (view_name, materialization_hypertable_name)
where proc_name = 'policy_refresh_continuous_aggregate'
order by job_id
"""

Span = tuple[float, float]


@dataclass
class Figures:
    """What was measured, on one clock."""

    counts: list[Span] = field(default_factory=list)
    refreshes: dict[str, list[Span]] = field(default_factory=dict)
    written: int = 0


def write(connection: Connection, figures: Figures, group: int, late: float) -> None:
    """Write a group of events of now, a share of them up to seven days late."""
    connection.execute(INSERT, [late, group])
    figures.written += group


def count(connection: Connection, figures: Figures, chance: random.Random) -> None:
    """Count from some minute on until now."""
    start = datetime.now(UTC) - timedelta(minutes=chance.randrange(1, DAYS * 1440))
    begun = time.perf_counter()
    ours(connection, (start.replace(second=0, microsecond=0), datetime.now(UTC)))
    figures.counts.append((begun, time.perf_counter()))


def refresh(connection: Connection, figures: Figures, level: str, job: int) -> None:
    """Do what a level's policy does."""
    begun = time.perf_counter()
    connection.execute("call run_job(%s)", [job])
    figures.refreshes.setdefault(level, []).append((begun, time.perf_counter()))


def repeated(url: str, every_seconds: float, act: Callable[[Connection], None]) -> Work:
    """Return what does something at intervals, on a connection of its own."""

    def work(stop: threading.Event) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            due = time.monotonic() + every_seconds
            while not stop.wait(max(0, due - time.monotonic())):
                act(connection)
                due += every_seconds

    return work


def row(spans: list[Span]) -> tuple[str, ...]:
    """Return their number, median, 99th percentile and maximum."""
    times = [(end - begun) * 1000 for begun, end in spans] or [math.nan]
    return f"{len(spans):,}", *(f"{percentile(times, part):.1f}" for part in (50, 99, 100))


def main(
    seconds: Annotated[float, typer.Option(help="How long to write and count.")] = 120,
    rate: Annotated[int, typer.Option(min=GROUPS_A_SECOND, help="Events a second.")] = 1000,
    late: Annotated[
        float, typer.Option(min=0, max=1, help="The share of events of the past seven days.")
    ] = 0,
    counts: Annotated[float, typer.Option(help="Counts a second.")] = 50,
    events: Annotated[int, typer.Option(help="How many events to load before.")] = 1_000_000,
) -> None:
    """Write, count and refresh side by side, and print how long each took."""
    today = datetime.now(UTC).date()
    days = ("--start", str(today - timedelta(DAYS)), "--end", str(today - timedelta(1)))
    figures, chance, group = Figures(), random.Random(1), rate // GROUPS_A_SECOND
    with fresh_database() as (url, server), psycopg.connect(url, autocommit=True) as connection:
        load_sample_events(url, events, *days)
        policies = connection.execute(POLICIES).fetchall()
        begun = time.monotonic()
        with beside(
            repeated(url, 1 / GROUPS_A_SECOND, lambda at: write(at, figures, group, late)),
            repeated(url, 1 / counts, lambda at: count(at, figures, chance)),
        ):
            due = {name: begun + every for name, _, every, _ in policies}
            while (rest := begun + seconds - time.monotonic()) > 0:
                for name, job, every, _ in policies:
                    if time.monotonic() >= due[name]:
                        refresh(connection, figures, name, job)
                        due[name] += every
                time.sleep(min(0.05, rest))
        took = time.monotonic() - begun
        console = Console()
        console.print(
            f"{today}: {figures.written / took:,.0f} events a second for {took:.0f} s, beside "
            f"{events:,} of {DAYS} days, on {server}, {versions(url)}"
        )
    table = Table("what", "times", "median ms", "p99 ms", "max ms")
    for name, spans in figures.refreshes.items():
        table.add_row(f"refresh of {name}", *row(spans))
    refreshes = [span for spans in figures.refreshes.values() for span in spans]
    met = [one for one in figures.counts if overlaps(one, refreshes)]
    apart = [one for one in figures.counts if not overlaps(one, refreshes)]
    table.add_row("counts until now, apart from refreshes", *row(apart))
    table.add_row("counts until now, beside a refresh", *row(met))
    console.print(table)


def overlaps(span: Span, others: list[Span]) -> bool:
    """Return whether a span meets one of others."""
    return any(span[0] < end and begun < span[1] for begun, end in others)
