"""What is written together, in parts that lie apart in time, and those who wait for it."""

import time
from collections import Counter
from collections.abc import Sequence

from prometheus_client import Counter as Metric

from service.events import Event
from service.ingest.lateness import by_time
from service.ingest.waiting import Settled, Waiting
from service.ingest.writing import GroupStore, write_settled
from service.metrics import (
    EVENTS_DUPLICATE,
    EVENTS_NOT_STORED,
    EVENTS_REJECTED,
    EVENTS_STORED,
    SPOOLED_EVENTS,
)


class Group:
    """The events of some requests. A sender is answered once all of its events are settled."""

    def __init__(self, waiting: Sequence[Waiting]) -> None:
        self.waiting = waiting
        """Those that are not answered yet, as far as it is up to the group."""
        self.events = sum([len(one.events) for one in waiting])
        """How many there are."""
        self.size = sum([one.size for one in waiting])
        """Bytes that they hold, about."""
        self.is_being_written = False
        """Whether the database has them at the moment, and may commit them."""
        self._settled = Settled()
        # The latest part first.
        self._parts = by_time(
            [event for one in waiting for event in one.events], lambda event: event.timestamp
        )
        self._again = False
        self.kept = 0
        """How many events are committed, or in the spool, by now."""
        self.not_kept = 0
        """How many are not, and won't be by this group."""

    @property
    def is_awaited(self) -> bool:
        """Whether anybody has no answer yet."""
        return not all(one.is_answered for one in self.waiting)

    @property
    def seconds_left(self) -> float:
        """How long the first of those who wait does so still."""
        expires = (one.expires for one in self.waiting if not one.is_answered)
        return max(0.0, min(expires, default=0.0) - time.monotonic())

    @property
    def unsettled(self) -> Sequence[Event]:
        """The events of which it is not known what became of them."""
        known = self._settled.known
        unknown = [event for part in self._parts for event in part if event.event_id not in known]
        return _without(unknown, self._settled.unstorable)

    async def write(self, store: GroupStore) -> None:
        """Commit what is not settled. Raises as write_settled(); what was committed stays so."""
        while self._parts:
            part = self._parts[0]
            again, self._again = self._again, True
            await write_settled(store, part, self._settled, again=again)
            self._again = False
            del self._parts[0]
            self._count_committed(part)
            self._answer_since(part)

    def _answer_since(self, part: Sequence[Event]) -> None:
        """Answer whose events all come after the beginning of this part, or in it."""
        answered, self.waiting = self.waiting, []
        if self._parts:
            since = min(event.timestamp for event in part)
            self.waiting = [one for one in answered if one.since < since]
            answered = [one for one in answered if one.since >= since]
        self._settled.answer(answered)

    def note_spooled(self) -> None:
        """Answer everybody: what was not committed is in the spool."""
        self._count_rest(SPOOLED_EVENTS)
        self._settled.answer(self.waiting)

    def give_up(self) -> None:
        """Take note that the rest, if there is any, is kept nowhere, as far as anybody knows."""
        self._count_rest(EVENTS_NOT_STORED)

    # Each event is counted once: when it is settled, by what became of it.

    def _count_committed(self, part: Sequence[Event]) -> None:
        duplicates = 0
        if self._settled.known:
            storable = _without(part, self._settled.unstorable)
            given = Counter(event.event_id for event in storable if event.id_is_given)
            # What was written again after a failure may be known more often than it was sent.
            duplicates = (given & self._settled.known).total()
        self._count(EVENTS_DUPLICATE, duplicates)
        self._count(EVENTS_STORED, self._count_refused(part) - duplicates)

    def _count_rest(self, fate: Metric) -> None:
        parts, self._parts = self._parts, []
        for part in parts:
            # What is known was written by an attempt that had no end.
            self._count_committed([one for one in part if one.event_id in self._settled.known])
            left = [one for one in part if one.event_id not in self._settled.known]
            self._count(fate, self._count_refused(left))

    def _count_refused(self, part: Sequence[Event]) -> int:
        """Count what can't be stored, and return how many others there are."""
        refused = _among(part, self._settled.refused)
        broken = _among(part, self._settled.broken)
        self._count(EVENTS_REJECTED, refused)
        self._count(EVENTS_NOT_STORED, broken)
        return len(part) - refused - broken

    def _count(self, fate: Metric, events: int) -> None:
        fate.inc(events)
        if fate in (EVENTS_REJECTED, EVENTS_NOT_STORED):
            self.not_kept += events
        else:
            self.kept += events


def _among(part: Sequence[Event], some: set[Event]) -> int:
    return sum(event in some for event in part) if some else 0


def _without(part: Sequence[Event], some: set[Event]) -> Sequence[Event]:
    return [event for event in part if event not in some] if some else part
