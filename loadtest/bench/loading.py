"""Loads events that the database makes itself, refreshes, and turns old chunks into columns."""

import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
from psycopg import Connection, errors

from loadtest.bench.ranges import DAY, MICROSECOND, Window

AGGREGATES = ("event_counts_minute", "event_counts_quarter_hour", "event_counts_daily")
MOST_AT_ONCE = 1_000_000
"""Events in one statement."""

# Evenly spread, each somewhere in its step: 60 % views, 30 % clicks, 10 % locations. Ids are
# UUIDv7: six bytes of milliseconds, the version, the variant, and a hash for what is random.
INSERT = """
insert into events (timestamp, event_id, user_id, event_type, payload)
select
    at,
    encode(
        substring(int8send((extract(epoch from at) * 1000)::bigint) from 3) || '\\x7000'::bytea
        || int8send(hash & 4611686018427387903 | (-9223372036854775808)),
        'hex'
    )::uuid,
    'user-' || n %% 5000,
    case when n %% 10 < 6 then 'view' when n %% 10 < 9 then 'click' else 'location' end::event_type,
    jsonb_build_object('url', '/p/' || n %% 100)
from (
    select n, hash, date_trunc(
        'milliseconds',
        %(first)s + (n - (hash & 1048575) / 1048576.0) * %(step)s * interval '1 microsecond'
    ) as at
    from (
        select n, hashint8extended(n, %(seed)s) as hash
        from generate_series(%(from)s::bigint, %(to)s::bigint) as n
        offset 0
    ) as number
    offset 0
) as made
"""
REFRESH = """
call refresh_continuous_aggregate(
    %s, null, %s::timestamptz, options => '{"buckets_per_batch": 43200}'
)
"""
OLD_CHUNKS = (
    "select chunk::text from show_chunks('events', older_than => interval '8 days') as chunk"
)
SCHEDULE = """
select alter_job(job_id, scheduled => %s) from timescaledb_information.jobs where job_id >= 1000
"""


def load(url: str, events: int, window: Window, seed: int) -> dict[str, float]:
    """Load so many events into a window; return the seconds that each step took.

    The policies pause meanwhile, so that the steps are alone.
    """
    with policies_paused(url) as connection:
        return {
            name: _timed(step)
            for name, step in (
                ("insert", lambda: insert(url, events, window, seed)),
                ("refresh", lambda: refresh(connection, window)),
                ("columnstore", lambda: convert_old_chunks(connection)),
                ("vacuum", lambda: connection.execute("vacuum (analyze)")),
            )
        }


@contextmanager
def policies_paused(url: str) -> Iterator[Connection]:
    """Yield a connection, in autocommit, while no job of the database runs."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SCHEDULE, [False])
        yield connection
        connection.execute(SCHEDULE, [True])


def insert(url: str, events: int, window: Window, seed: int) -> None:
    """Insert a part of the window a statement, at most a day, on as many cores as there are."""
    step = window.length / MICROSECOND / events
    parts = max(math.ceil(window.length / DAY), math.ceil(events / MOST_AT_ONCE))
    marks = [events * part // parts for part in range(parts + 1)]

    def insert_part(part: int) -> None:
        values = {"first": window.first, "step": step, "seed": seed}
        values |= {"from": marks[part] + 1, "to": marks[part + 1]}
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(INSERT, values)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(insert_part, range(parts)))


def refresh(connection: Connection, window: Window) -> None:
    """Refresh all levels up to the window's end, the finest first."""
    for aggregate in AGGREGATES:
        while True:
            try:
                connection.execute(REFRESH, (aggregate, window.until))
                break
            except errors.LockNotAvailable:  # Its policy is refreshing it at this moment.
                time.sleep(0.2)


def convert_old_chunks(connection: Connection) -> None:
    """Turn the chunks in which nothing is written any more into columns, as their policy does."""
    for (chunk,) in connection.execute(OLD_CHUNKS).fetchall():
        connection.execute("call convert_to_columnstore(%s)", [chunk])


def _timed(step: Callable[[], object]) -> float:
    started = time.perf_counter()
    step()
    return round(time.perf_counter() - started, 1)
