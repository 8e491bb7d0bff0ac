"""Three ways to count a range in SQL: that of the service, and what one would write by hand."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

from psycopg import Connection

from loadtest.bench.ranges import DAY, EPOCH, Range
from loadtest.bench.truth import Counts
from service.database.connections import load_query
from service.events import DEFAULT_SITE

EVENT_COUNTS = load_query("event_counts")
RAW_COUNT = """
select count(*) from events where timestamp >= %s and timestamp < %s and site_id = 1
"""
# The first day and the last are cut off by the range, and counted in the events.
DAYS_AND_EDGES = """
select (
    (select coalesce(sum(event_count), 0) from event_counts_daily
     where bucket >= %(first_day)s and bucket < %(last_day)s and site_id = 1)
    + (select count(*) from events
       where timestamp >= %(start)s and timestamp < %(first_day)s and site_id = 1)
    + (select count(*) from events
       where timestamp >= %(last_day)s and timestamp < %(end)s and site_id = 1)
)::bigint
"""

OURS, RAW, DAYS = "event_counts()", "raw COUNT", "days, raw edges"

Way = Callable[[Connection, Range], Counts | int]


def ours(connection: Connection, bounds: Range) -> Counts:
    """Count as the service does: by event_counts(), all types."""
    start, end = bounds
    values = {"range_start": start, "range_end": end, "site": DEFAULT_SITE}
    return Counter(dict(connection.execute(EVENT_COUNTS, values).fetchall()))


def raw_count(connection: Connection, bounds: Range) -> int:
    """Count the events themselves."""
    return _number(connection, RAW_COUNT, bounds)


def days_and_edges(connection: Connection, bounds: Range) -> int:
    """Sum the daily aggregate, and count the events of the two days that are cut."""
    start, end = bounds
    first_day = min(start + (EPOCH - start) % DAY, end)
    last_day = max(_midnight(end), first_day)
    values = {"start": start, "first_day": first_day, "last_day": last_day, "end": end}
    return _number(connection, DAYS_AND_EDGES, values)


def _midnight(at: datetime) -> datetime:
    return at - (at - EPOCH) % DAY


def _number(connection: Connection, query: str, values: Any) -> int:
    [(number,)] = connection.execute(query, values).fetchall()
    return int(number)


BASELINES: dict[str, Way] = {RAW: raw_count, DAYS: days_and_edges}
