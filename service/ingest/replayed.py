"""What becomes of a segment's events when they are replayed."""

from collections.abc import Sequence
from typing import Protocol

import psycopg
import structlog

from service.database.failures import Failure, classify, first_line
from service.events import Event
from service.ingest.lateness import by_time
from service.ingest.waiting import Settled
from service.ingest.writing import GroupStore, set_aside, write_settled
from service.metrics import count_database_error

log = structlog.get_logger()

MOST_FAILURES = 12
"""How many attempts may fail for the sake of a segment's events before the others wait for another
pass. To find one of a thousand takes eleven; each may last until its deadline."""
STATEMENT_TIMEOUT = "57014"


class NotKeptError(Exception):
    """The event is older than what is kept at all (retention)."""


class ReplayStore(GroupStore, Protocol):
    """What is written to, and what it still takes."""

    async def retained_from(self) -> int:
        """Return since when events are kept, as microseconds since 1970."""

    async def identity(self) -> str:
        """Return which database it is."""


class Replayed:
    """A segment that is being replayed."""

    def __init__(self, store: ReplayStore) -> None:
        self._store = store
        self._settled = Settled()
        self._failures_left = MOST_FAILURES
        self._stuck: set[Event] = set()
        self._untried: set[Event] = set()
        self.events = 0
        self.refused = 0
        """How many of them are in rejected_events."""
        self.left: list[Event] = []
        """Those that could be neither stored nor set aside, or were not tried."""
        self.damaged = 0
        """Bytes that are no events any more."""
        self.range: tuple[int, ...] = ()
        """The earliest and the latest timestamp of what is done, if there is any."""

    @property
    def has_untried(self) -> bool:
        """Whether some were not tried: what is left has another order then, these first."""
        return bool(self._untried)

    @property
    def stored_already(self) -> int:
        """How many of them were stored before."""
        return self._settled.known.total()

    async def write(self, records: Sequence[Event | int]) -> None:
        """Write some of its events. Raises what says that the database is away."""
        events = [one for one in records if isinstance(one, Event)]
        self.damaged += sum(one for one in records if isinstance(one, int))
        if not events:
            return
        # Retention may go on while a segment is replayed.
        kept_since = await self._store.retained_from()
        await self._set_aside([event for event in events if event.timestamp < kept_since])
        kept = [event for event in events if event.timestamp >= kept_since]
        for part in by_time(kept, lambda event: event.timestamp):
            await self._write(part)
        self._note(events)

    async def _set_aside(self, events: Sequence[Event]) -> None:
        for event in events:
            await set_aside(self._store, event, self._settled, NotKeptError(NotKeptError.__doc__))

    async def _write(self, events: Sequence[Event]) -> None:
        """Write events but for those that can't be, which are found by bisection."""
        if self._failures_left <= 0:
            self._untried.update(events)
            return
        try:
            await write_settled(self._store, events, self._settled, again=True)
        except (psycopg.Error, TimeoutError) as error:
            if not await self._may_be_their_fault(error):
                raise
            self._failures_left -= 1
            count_database_error(error)
            if len(events) == 1:
                log.error("spooled event not stored", error=first_line(error))
                self._stuck.add(events[0])
                return
            half = len(events) // 2
            for part in (events[:half], events[half:]):
                await self._write(part)

    async def _may_be_their_fault(self, error: psycopg.Error | TimeoutError) -> bool:
        """Return whether it is the events that can't be written, as the database is there."""
        silent = not isinstance(error, psycopg.Error) or error.sqlstate in {None, STATEMENT_TIMEOUT}
        if classify(error) is Failure.AWAY and not silent:
            return False
        try:
            await self._store.check()
        except Exception:
            return False
        return True

    def _note(self, events: Sequence[Event]) -> None:
        stuck = self._stuck | self._settled.broken | self._settled.not_set_aside
        left = stuck | self._untried
        done = [one for one in events if one not in left]
        # What was not tried has its turn before what may fail again.
        self.left = [
            *(one for one in events if one in self._untried),
            *self.left,
            *(one for one in events if one in stuck),
        ]
        self.events += len(events)
        self.refused += sum(one in self._settled.refused for one in done)
        timestamps = (*self.range, *(one.timestamp for one in done))
        self.range = (min(timestamps), max(timestamps)) if timestamps else ()
