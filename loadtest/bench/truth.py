"""What a count must be: of what was loaded, read back once, and of what is written meanwhile."""

import sys
import threading
from array import array
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import psycopg

from loadtest.bench.ranges import DAY, EPOCH, MICROSECOND, Range, Window
from service.events import EVENT_TYPES, Event, EventType

UNIX_EPOCH = (datetime(1970, 1, 1, tzinfo=UTC) - EPOCH) // MICROSECOND

# By type, all timestamps of a range in one value, eight bytes each: microseconds since 2000.
READ_BACK = """
select event_type::text, string_agg(timestamptz_send(timestamp), ''::bytea order by timestamp)
from events where timestamp >= %s and timestamp < %s and site_id = 1
group by event_type
"""

Counts = Counter[str]
"""By type."""


class Timestamps:
    """Sorted timestamps by type, in which a raw count of any range is two binary searches."""

    def __init__(self) -> None:
        self._by_type = {event_type: array("q") for event_type in EVENT_TYPES}

    def append(self, event_type: EventType, newer: bytes) -> None:
        """Append timestamps in PostgreSQL's binary form, none older than those before."""
        found = array("q", newer)
        if sys.byteorder == "little":
            found.byteswap()
        self._by_type[event_type].extend(found)

    def add(self, events: Iterable[Event]) -> None:
        """Add events, in any order."""
        for event in events:
            insort(self._by_type[event.event_type], event.timestamp + UNIX_EPOCH)

    def count(self, bounds: Range) -> Counts:
        """Return how many of each type are in a range."""
        start, end = ((edge - EPOCH) // MICROSECOND for edge in bounds)
        return Counter(
            {
                event_type: bisect_left(timestamps, end) - bisect_left(timestamps, start)
                for event_type, timestamps in self._by_type.items()
            }
        )

    def total(self) -> int:
        """Return how many there are."""
        return sum(map(len, self._by_type.values()))


def read_back(url: str, window: Window) -> Timestamps:
    """Return what is stored in a window, a day at a time, from the events themselves."""
    found = Timestamps()
    with psycopg.connect(url, autocommit=True) as connection:
        start = window.first
        while start < window.until:
            end = min(start + DAY, window.until)
            for event_type, timestamps in connection.execute(READ_BACK, (start, end), binary=True):
                found.append(event_type, timestamps)
            start = end
    return found


class Truth:
    """Lower and upper bounds of a count, while events are written.

    The bounds are equal, and the count is pinned, unless a write into the range was under way.
    """

    def __init__(self, loaded: Timestamps) -> None:
        self.loaded = loaded
        self.committed, self._sent = Timestamps(), Timestamps()
        self._lock = threading.Lock()

    @contextmanager
    def writing(self, events: Sequence[Event]) -> Iterator[None]:
        """Note what is sent, and that it is committed at the end, unless by an exception."""
        with self._lock:
            self._sent.add(events)
        yield
        with self._lock:
            self.committed.add(events)

    def at_least(self, bounds: Range) -> Counts:
        """Return what a count that begins now must count."""
        with self._lock:
            return self.loaded.count(bounds) + self.committed.count(bounds)

    def at_most(self, bounds: Range) -> Counts:
        """Return what a count that ended now may have counted."""
        with self._lock:
            return self.loaded.count(bounds) + self._sent.count(bounds)


def within(low: Counts, answer: Counts | int, high: Counts) -> bool:
    """Return whether an answer, by type or a total, is between what it must and what it may be."""
    if isinstance(answer, int):
        return low.total() <= answer <= high.total()
    return low <= answer <= high
