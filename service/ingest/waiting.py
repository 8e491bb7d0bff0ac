"""Events whose sender waits, and what becomes of them."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from service.events import Event
from service.problems import Problem, ProblemKind

OVERHEAD_BYTES = 200
"""What an event takes beside its text, about."""


class Kept(NamedTuple):
    """What became of a request's events; those that are named nowhere here are stored anew."""

    duplicates: int = 0
    """How many were stored already."""
    refused: frozenset[bytes] = frozenset()
    """Ids of those that the database refused; they are in rejected_events."""


ALL_KEPT = Kept()


class Waiting:
    """The events of one request, and the answer that its sender waits for."""

    __slots__ = ("answer", "events", "expires", "size")

    def __init__(self, events: Sequence[Event], expires: float) -> None:
        self.events = events
        self.expires = expires
        """When the sender is told that it takes too long; seconds of time.monotonic()."""
        self.answer: asyncio.Future[Kept | Problem] = asyncio.get_running_loop().create_future()
        self.size = OVERHEAD_BYTES * len(events) + sum(
            [len(event.payload) + len(event.user_id) for event in events]
        )
        """Bytes that the events hold, about."""

    @property
    def since(self) -> int:
        """The earliest event's timestamp."""
        return min(event.timestamp for event in self.events)

    @property
    def is_answered(self) -> bool:
        """Whether the events need be kept no more for their sender's sake.

        Those of a sender who was cancelled are still to be kept, until they expire. A shield around
        the answer would do, too, but cost each event 3 microseconds.
        """
        if self.answer.cancelled():
            return self.expires <= time.monotonic()
        return self.answer.done()

    def resolve(self, answer: Kept | Problem) -> None:
        """Answer, unless that has been done or nobody waits any more."""
        if not self.answer.done():
            self.answer.set_result(answer)


@dataclass
class Settled:
    """What is known of a group's events beside that they are stored."""

    known: Counter[bytes] = field(default_factory=Counter)
    """How often an id was written that was stored already."""
    refused: set[Event] = field(default_factory=set)
    """Not their ids: another sender's event may have the same one, and be stored."""
    broken: set[Event] = field(default_factory=set)
    """Events that could not even be sent: a defect of ours."""
    not_set_aside: set[Event] = field(default_factory=set)
    """Of the refused ones, those that could not be put into rejected_events."""

    @property
    def unstorable(self) -> set[Event]:
        """Events that were refused, or could not be sent."""
        return self.refused | self.broken

    def answer(self, group: Sequence[Waiting]) -> None:
        """Answer senders whose events are all settled."""
        is_plain = not self.known and not self.refused and not self.broken
        # Of two senders of one event the first one stored it.
        for waiting in reversed(group):
            waiting.resolve(ALL_KEPT if is_plain else self._kept(waiting.events))

    def _kept(self, events: Sequence[Event]) -> Kept | Problem:
        if self.broken and any(event in self.broken for event in events):
            return Problem(ProblemKind.DEFECT, "The fault is ours, and has been logged.")
        duplicates, refused = 0, set()
        for event in events:
            if self.refused and event in self.refused:
                refused.add(event.event_id)
            # An id of ours is known only where an attempt to write it was cut off, and succeeded.
            elif event.id_is_given and self.known[event.event_id] > 0:
                self.known[event.event_id] -= 1
                duplicates += 1
        return Kept(duplicates, frozenset(refused))


def too_many() -> Problem:
    """Return the answer to a sender for whose events there is no room."""
    return Problem(ProblemKind.QUEUE_FULL, "Nothing was stored. Send it again later.")


def too_late() -> Problem:
    """Return the answer to a sender whose events were withdrawn at their deadline."""
    return Problem(ProblemKind.NOT_STORED, "Nothing was stored. Send it again.")


def unknown_outcome(events: Sequence[Event]) -> Problem:
    """Return the answer to a sender of whose events nobody can say whether they are stored."""
    return Problem(
        ProblemKind.NOT_STORED,
        "The database did not confirm it in time. Send it again under the given id.",
        more={"event_ids": [str(UUID(bytes=event.event_id)) for event in events]},
    )
