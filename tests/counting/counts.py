"""What a count must equal, and how the aggregates below it are driven."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg
from psycopg import Connection, errors, sql

from service.database.connections import CONNECTION, load_query

LEVELS = ("event_counts_minute", "event_counts_quarter_hour", "event_counts_daily")
WIDTHS = dict(zip(LEVELS, ("1 minute", "15 minutes", "24 hours"), strict=True))

EVENT_COUNTS = load_query("event_counts")

RAW_COUNTS = """
select event_type::text, count(*)
from events
where timestamp >= coalesce(%(range_start)s::timestamptz, '-infinity')
  and timestamp < coalesce(%(range_end)s::timestamptz, 'infinity')
  and site_id = %(site)s
group by event_type
"""

INSERT: LiteralString = """
insert into events (timestamp, event_id, site_id, user_id, event_type, payload)
select timestamp, gen_random_uuid(), site_id, 'somebody', event_type::event_type, '{}'
from unnest(%s::timestamptz[], %s::smallint[], %s::text[]) as event (timestamp, site_id, event_type)
"""

# Buckets whose materialized counts differ from the events though nothing says that they are stale.
# A bucket is stale where its level is, or a level below it.
WRONG_BUCKETS: LiteralString = """
with stale as (
    select stale_from, stale_until from event_counts_stale where view_name = any(%(levels)s)
), raw as (
    select site_id, event_type, date_bin(%(width)s, timestamp, '2000-01-01 00:00+00') as bucket,
           count(*) as event_count
    from events
    group by 1, 2, 3
)
select site_id, event_type::text, bucket, raw.event_count, level.event_count
from raw full join {materialized} as level using (site_id, event_type, bucket)
where raw.event_count is distinct from level.event_count
  and not exists (
      select from stale where stale_from < bucket + %(width)s::interval and stale_until > bucket
  )
"""

Counts = dict[str, int]
Bound = object
"""An end of a range: what psycopg can make a timestamptz of, or None for an open end."""


def connect(url: str) -> Connection:
    """Return a connection like the service's."""
    return psycopg.connect(url, **CONNECTION)


def counted(connection: Connection, start: Bound, end: Bound, site: int = 1) -> Counts:
    """Return what the service would answer."""
    values = {"range_start": start, "range_end": end, "site": site}
    return dict(connection.execute(EVENT_COUNTS, values).fetchall())


def raw(connection: Connection, start: Bound, end: Bound, site: int = 1) -> Counts:
    """Return what is true."""
    values = {"range_start": start, "range_end": end, "site": site}
    return dict(connection.execute(RAW_COUNTS, values).fetchall())


def fill(connection: Connection, start: str, end: str, every: str, payload: str = "{}") -> None:
    """Insert a view each so often."""
    connection.execute(
        """
        insert into events (timestamp, event_id, user_id, event_type, payload)
        select moment, gen_random_uuid(), 'somebody', 'view', %s
        from generate_series(%s::timestamptz, %s::timestamptz, %s::interval) as moment
        """,
        [payload, start, end, every],
    )


def assert_exact(
    connection: Connection, start: Bound = None, end: Bound = None, site: int = 1
) -> None:
    """Fail unless a count equals the raw COUNT."""
    assert counted(connection, start, end, site) == raw(connection, start, end, site)


def wrong_buckets(connection: Connection, level: str) -> list[tuple[object, ...]]:
    """Return what a level has wrong in one snapshot where it says that it is up to date."""
    return _wrong_buckets(connection, level, LEVELS[: LEVELS.index(level) + 1])


def differing_buckets(connection: Connection, level: str) -> list[tuple[object, ...]]:
    """Return where a level differs from the events, stale or not."""
    return _wrong_buckets(connection, level, ())


def _wrong_buckets(
    connection: Connection, level: str, may_be_stale: tuple[str, ...]
) -> list[tuple[object, ...]]:
    query = sql.SQL(WRONG_BUCKETS).format(materialized=sql.Identifier(level))
    values = {"levels": list(may_be_stale), "width": WIDTHS[level]}
    return connection.execute(query, values).fetchall()


def refresh(connection: Connection, level: str, start: Bound = None, end: Bound = None) -> None:
    """Refresh a window of a level; again while another refresh is in the way."""
    call = (
        "call refresh_continuous_aggregate(%s, %s::timestamptz, %s::timestamptz, "
        """options => '{"buckets_per_batch": 43200}')"""
    )
    while True:
        try:
            connection.execute(call, [level, start, end])
            return
        except (errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure):
            continue


def refresh_all(connection: Connection) -> None:
    """Refresh every level, from the lowest up."""
    for level in LEVELS:
        refresh(connection, level)


def stop_scheduler(url: str) -> None:
    """Keep the server's background jobs away from a new database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create extension timescaledb")
        connection.execute("select _timescaledb_functions.stop_background_workers()")


def stop_jobs(connection: Connection) -> None:
    """Leave it to the test what is refreshed, and when."""
    connection.execute(
        """
        select alter_job(job_id, scheduled => false)
        from timescaledb_information.jobs where hypertable_name is not null
        """
    )


def await_listed_jobs(connection: Connection) -> None:
    """Wait for what the embedded server's timer found scheduled just before all jobs were stopped.

    It runs its whole list, and takes turns with the connections: a job asks for no more than three
    statements, so that after as many of ours it is done.
    """
    found = connection.execute("select count(*) from timescaledb_information.jobs").fetchone()
    assert found is not None
    for _ in range(3 * found[0]):
        connection.execute("select")


@contextmanager
def repeatable_read(connection: Connection) -> Iterator[None]:
    """All within sees one snapshot; nothing that it writes stays."""
    connection.execute("begin isolation level repeatable read")
    try:
        yield
    finally:
        connection.execute("rollback")
