"""One case, measured once: in a fresh database, after a warm-up, with what it stored counted."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psycopg

from loadtest.bench.figures import percentile
from loadtest.bench.ingest.cases import COPY, Case
from loadtest.bench.ingest.copying import copy_batches
from loadtest.bench.ingest.cpu import backends, cpu_seconds, most_memory_mib, tree
from loadtest.bench.ingest.generators import Generator, Sending, send
from loadtest.bench.ingest.requests import (
    PLAIN_EVENTS,
    Rates,
    Request,
    make_requests,
    refused_of,
    rows_of,
    valid_events_of,
    write_file,
)
from loadtest.bench.ingest.servers import serving

WARM_UP_SECONDS = 1.0
DRAIN_SECONDS, DRAIN_SECONDS_OF_LARGE = 1, 4
"""For the last answers. After five idle seconds uvicorn closes a connection, an error to wrk."""
LARGE = 1000
"""From so many events in a request on, the last answers may take longer."""
SINGLES_PER_SECOND, BATCHED_PER_SECOND = 40_000, 150_000
"""So many events are made for each second where some have ids: few are sent a second time."""


class Load(NamedTuple):
    """How each case is loaded."""

    seconds: float
    connections: int
    rates: Rates
    generator: Generator


@dataclass(frozen=True)
class Measurement:
    """What one run of a case found."""

    case: str
    connections: int
    seconds: float
    requests_per_second: float
    events_per_second: float
    """Of valid events that were answered, those that were stored already among them."""
    p50_ms: float
    p99_ms: float
    program_us: float
    """Microseconds of processor time an event in the program's processes."""
    program_mib: float
    """The most memory that the program's processes had, together."""
    database_us: float | None
    """The same in the database's; None where they run elsewhere."""
    generator_cores: float
    """Of one core, what the generator took: near 1 it is the limit."""
    errors: int
    """Requests that were not answered as they should have been."""
    rows: int | None
    """How many more are stored than before; None where nothing is."""
    rows_at_least: int
    """What was answered, each event once."""
    rows_at_most: int
    """What was sent. Without errors it is what was answered."""

    @property
    def is_kept(self) -> bool:
        """Whether there is stored what was answered, and nothing else."""
        return self.rows is None or self.rows_at_least <= self.rows <= self.rows_at_most

    def __str__(self) -> str:
        """Return the line that is printed."""
        return (
            f"{self.case}, {self.requests_per_second:,.0f} requests/s, "
            f"{self.events_per_second:,.0f} events/s, {self.errors:,} errors, "
            f"{'all kept' if self.is_kept else 'NOT KEPT'}"
        )


def measure(case: Case, load: Load, url: str, embedded: set[int]) -> Measurement:
    """Measure a case in a database that nobody else writes to.

    `embedded` are the database's processes, where they are ours.

    Raises RunError and GeneratorError.
    """

    def database() -> set[int]:
        return embedded or backends(url)

    if case.program is COPY:
        return _measure_copy(case, load, url, database)
    with tempfile.TemporaryDirectory() as folder:
        return _measure_program(case, load, url, database, Path(folder))


def _measure_program(
    case: Case, load: Load, url: str, database: Callable[[], set[int]], folder: Path
) -> Measurement:
    warm_up, requests = _requests(case, load, Rates()), _requests(case, load, load.rates)
    write_file(warm_up, folder / "warm-up")
    write_file(requests, folder / "requests")
    connections = case.connections(load.connections)
    stored_before = _count(url) if case.program.stores else 0

    def sending(file: str, seconds: float) -> Sending:
        drain = DRAIN_SECONDS if case.batch < LARGE else DRAIN_SECONDS_OF_LARGE
        return send(
            *(load.generator, folder / file, server.port),
            connections=connections,
            seconds=seconds,
            drain_seconds=drain,
        )

    with serving(case.program, url, folder) as server:
        warming = sending("warm-up", WARM_UP_SECONDS)
        pids = tree(server.pid), database()
        before = [cpu_seconds(of) for of in pids]
        found = sending("requests", load.seconds)
        program, stored = (cpu_seconds(of) - took for of, took in zip(pids, before, strict=True))
        memory = most_memory_mib(pids[0])
    # Counted once the program has ended: what it held is stored by then.
    errors = _errors(warm_up, warming) + _errors(requests, found)
    rows = rows_of(warm_up, warming.sent) + rows_of(requests, found.sent)
    events = valid_events_of(requests, found.answered - found.refused)
    return Measurement(
        case.name,
        connections,
        round(found.seconds, 3),
        round(found.answered / found.seconds, 1),
        round(events / found.seconds, 1),
        found.p50_ms,
        found.p99_ms,
        program_us=round(program / events * 1e6, 2),
        program_mib=memory,
        database_us=round(stored / events * 1e6, 2) if case.program.stores and pids[1] else None,
        generator_cores=round(found.cpu_seconds / found.seconds, 2),
        errors=errors,
        rows=_count(url) - stored_before if case.program.stores else None,
        rows_at_least=rows - errors * case.batch,
        rows_at_most=rows,
    )


def _requests(case: Case, load: Load, rates: Rates) -> list[Request]:
    events = PLAIN_EVENTS
    if rates.give_ids:
        per_second = SINGLES_PER_SECOND if case.batch == 1 else BATCHED_PER_SECOND
        events = int(per_second * load.seconds)
    return make_requests(case.batch, zipped=case.gzip, rates=rates, events=events)


def _errors(requests: list[Request], found: Sending) -> int:
    unanswered = found.sent - found.answered
    return abs(found.refused - refused_of(requests, found.sent)) + max(found.failed, unanswered)


def _measure_copy(
    case: Case, load: Load, url: str, database: Callable[[], set[int]]
) -> Measurement:
    stored_before = _count(url)
    with psycopg.connect(url, autocommit=True) as connection:
        warming = copy_batches(connection, case.batch, WARM_UP_SECONDS)
        pids = database()
        before = cpu_seconds(pids)
        found = copy_batches(connection, case.batch, load.seconds)
        stored = cpu_seconds(pids) - before
    seconds = sum(found.seconds)
    milliseconds = [one * 1000 for one in found.seconds]
    return Measurement(
        case.name,
        1,
        round(seconds, 3),
        round(len(milliseconds) / seconds, 1),
        round(found.events / seconds, 1),
        percentile(milliseconds, 50),
        percentile(milliseconds, 99),
        program_us=round(found.cpu_seconds / found.events * 1e6, 2),
        program_mib=most_memory_mib({os.getpid()}),
        database_us=round(stored / found.events * 1e6, 2) if pids else None,
        generator_cores=0.0,
        errors=0,
        rows=_count(url) - stored_before,
        rows_at_least=warming.events + found.events,
        rows_at_most=warming.events + found.events,
    )


def _count(url: str) -> int:
    with psycopg.connect(url) as connection:
        [(count,)] = connection.execute("select count(*) from events").fetchall()
    return int(count)
