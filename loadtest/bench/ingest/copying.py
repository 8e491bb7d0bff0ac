"""What the database takes at most by one connection: COPY of events that are there already."""

import time
from dataclasses import dataclass, field

import psycopg

from loadtest.bench.writes import group
from service.ingest.encoding import COPY_EVENTS, encode_copy


@dataclass
class Copied:
    """What a COPY took, without making the events."""

    events: int = 0
    seconds: list[float] = field(default_factory=list)
    """Of each batch."""
    cpu_seconds: float = 0.0
    """Of this process."""


def copy_batches(connection: psycopg.Connection, batch: int, seconds: float) -> Copied:
    """Encode and commit one batch after another until so many seconds have gone into it."""
    copied = Copied()
    while sum(copied.seconds) < seconds:
        events = group(batch)
        cpu_started, started = time.process_time(), time.perf_counter()
        with connection.cursor().copy(COPY_EVENTS) as copy:
            copy.write(encode_copy(events))
        copied.seconds.append(time.perf_counter() - started)
        copied.cpu_seconds += time.process_time() - cpu_started
        copied.events += batch
    return copied
