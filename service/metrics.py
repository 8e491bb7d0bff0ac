"""What is counted and measured of the service; docs/operating.md says what each of it means.

With several workers the values lie in files of the folder that PROMETHEUS_MULTIPROC_DIR names,
one set a process, and each worker answers for all of them. Gauges are then those of the workers
that live: their sum, or what was set last.
"""

import os
from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Iterable, Sequence

import psycopg
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from service.database.failures import Failure, classify

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The library reads it when it is first imported."""

REGISTRY = CollectorRegistry()

# A time of creation for each counter would double what there is to read.
disable_created_metrics()


def _counter(name: str, meaning: str, labels: Iterable[str] = ()) -> Counter:
    return Counter(f"tallymark_{name}", meaning, labels, registry=REGISTRY)


def _sum(name: str, meaning: str, labels: Iterable[str] = ()) -> Gauge:
    return Gauge(
        f"tallymark_{name}", meaning, labels, registry=REGISTRY, multiprocess_mode="livesum"
    )


def _histogram(
    name: str, meaning: str, buckets: Iterable[float], labels: Iterable[str] = ()
) -> Histogram:
    return Histogram(
        f"tallymark_{name}", meaning, labels, registry=REGISTRY, buckets=tuple(buckets)
    )


_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

# Requests: counted by service/requests.py.
REQUESTS = _counter("requests", "Requests, by their answer", ("route", "method", "status"))
REQUEST_SECONDS = _histogram(
    "request_seconds", "From a request's head to the end of its answer", _SECONDS,
    ("route", "method"),
)  # fmt: skip

# The ingest writer.
QUEUE_EVENTS = _sum("queue_events", "Events that wait to be written")
QUEUE_BYTES = _sum("queue_bytes", "Bytes of events that wait to be written")
FLUSH_EVENTS = _histogram(
    "flush_events", "Events a group that was committed", (1, 4, 16, 64, 256, 1024, 4096, 10_000)
)
FLUSH_SECONDS = _histogram("flush_seconds", "How long a group took to be committed", _SECONDS)
EVENTS_STORED = _counter("events_stored", "Events that were committed anew")
EVENTS_DUPLICATE = _counter("events_duplicate", "Events that were stored already")
EVENTS_REJECTED = _counter("events_rejected", "Events that the database refused")
EVENTS_NOT_STORED = _counter("events_not_stored", "Events that were neither stored nor spooled")

# The local spool, for while the database is away.
SPOOL_BYTES = _sum("spool_bytes", "Bytes of the local spool")
SPOOLED_EVENTS = _counter("spooled_events", "Events that were written to the local spool")
REPLAYED_EVENTS = _counter("replayed_events", "Events of the spool that came to the database")
SPOOL_DAMAGED_BYTES = _counter("spool_damaged_bytes", "Bytes of the spool that can't be read")
SPOOL_FOREIGN_FOLDERS = Gauge(
    "tallymark_spool_foreign_folders",
    "Folders in the spool's directory that hold events of another database",
    registry=REGISTRY,
    multiprocess_mode="livemax",
)

# The database.
DATABASE_AWAY = Gauge(
    "tallymark_database_away",
    "1 while the writer of a worker can't write to the database, else 0",
    registry=REGISTRY,
    multiprocess_mode="livemax",
)
READS_AWAY = Gauge(
    "tallymark_reads_away",
    "1 while a worker gets no answer from the database that it reads from, else 0",
    registry=REGISTRY,
    multiprocess_mode="livemax",
)
DATABASE_ERRORS = _counter(
    "database_errors", "Failed attempts, by their cause", ("failure", "kind")
)
POOL_CONNECTIONS = _sum("pool_connections", "Connections that read", ("state",))
POOL_WAITING = _sum("pool_waiting_requests", "Requests that wait for a connection to read by")
BEHIND_SECONDS = Gauge(
    "tallymark_aggregate_behind_seconds",
    "How long ago what an aggregate has taken in ends; NaN where that is not known",
    ("aggregate",),
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)


def observe_all(histogram: Histogram, values: Sequence[float]) -> None:
    """Observe all of the values: as observe() does for each, at a tenth of its cost.

    It leans on what is private in prometheus-client 0.26: that a histogram is its buckets, each
    with what is more than the bound before, and a sum.
    """
    buckets = Counts(bisect_left(histogram._upper_bounds, value) for value in values)
    for place, count in buckets.items():
        histogram._buckets[place].inc(count)
    histogram._sum.inc(sum(values))


def count_database_error(error: BaseException) -> Failure:
    """Count what a statement, or a connection, failed with; return what it means.

    Its kind is the SQLSTATE, or the exception's name where the database said nothing.
    """
    failure = classify(error)
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    DATABASE_ERRORS.labels(failure.value, state or type(error).__name__).inc()
    return failure


def exposition() -> bytes:
    """Return all of it in Prometheus's text format; with several workers, of all of them."""
    if FOLDER not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return generate_latest(registry)
