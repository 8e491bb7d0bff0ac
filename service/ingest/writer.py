"""Group commit: requests hand their events over and wait; what is there is written as one group.

While a group is being written the next one gathers, so groups grow with the load and no event waits
for the sake of a larger group.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple, Protocol, Self
from uuid import UUID

import psycopg
import structlog

from service.database.failures import Failure, classify, first_line
from service.events import Event
from service.ingest.lateness import by_time
from service.ingest.minutes import Minutes
from service.problems import Problem, ProblemKind

log = structlog.get_logger()

MAX_GROUP_EVENTS = 10_000
EXPIRY_SECONDS = 0.1
"""How often it is looked for events whose deadline has passed."""
PROBE_SECONDS = 1.0
"""How often an idle writer asks whether the database can be written to."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
"""Between attempts to reach a database that is away."""
OVERHEAD_BYTES = 200
"""What an event takes beside its text, about."""


class GroupStore(Protocol):
    """What the writer writes to: all of a group is committed, or it raises."""

    async def write(self, events: Sequence[Event], *, again: bool = False) -> None:
        """Commit the events; with `again` some of them may be stored already."""

    async def check(self) -> None:
        """Raise unless events can be written, as far as that can be told without writing."""

    async def close(self) -> None:
        """Let go of what is open."""


class Waiting(NamedTuple):
    """An event whose sender waits; the answer is None once it is committed, or a problem."""

    event: Event
    answer: asyncio.Future[Problem | None]
    expires: float

    def resolve(self, answer: Problem | None) -> None:
        """Answer, unless that has been done or nobody waits any more."""
        if not self.answer.done():
            self.answer.set_result(answer)

    @property
    def size(self) -> int:
        """Bytes that the event holds."""
        return len(self.event.payload) + len(self.event.user_id) + OVERHEAD_BYTES


class Writer:
    """Takes single events, writes groups, while it is entered as a context."""

    def __init__(
        self,
        store: GroupStore,
        minutes: Minutes,
        *,
        queue_events: int,
        queue_bytes: int,
        deadline_seconds: float,
    ) -> None:
        self._store = store
        self._minutes = minutes
        self._queue_events = queue_events
        self._queue_bytes = queue_bytes
        self._deadline_seconds = deadline_seconds
        self._queue: list[Waiting] = []
        self._queued_bytes = 0
        self._in_flight: list[Waiting] = []
        self._arrived = asyncio.Event()
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []
        self.away: str | None = None
        """Why the database can't be written to at the moment, as far as the writer knows."""

    async def __aenter__(self) -> Self:
        """Start to write, and know whether that is possible."""
        await self._probe()
        self._tasks = [
            asyncio.create_task(self._write_groups(), name="writer"),
            asyncio.create_task(self._expire_regularly(), name="expiry"),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write what is queued, then end. New events are answered 503 from now on."""
        self._closing = True
        self._arrived.set()
        writing, expiry = self._tasks
        await writing
        expiry.cancel()
        await self._store.close()

    @property
    def full(self) -> bool:
        """Whether another event would be answered 503."""
        return len(self._queue) >= self._queue_events or self._queued_bytes >= self._queue_bytes

    async def keep(self, event: Event) -> None:
        """Return once the event is committed. Raises Problem; the event is then not stored.

        The exception is a problem that bears the event_id: the outcome is not known.
        """
        if self.full or self._closing:
            self._minutes.not_stored(1)
            raise Problem(ProblemKind.QUEUE_FULL, "The event was not stored. Send it again later.")
        answer: asyncio.Future[Problem | None] = asyncio.get_running_loop().create_future()
        waiting = Waiting(event, answer, time.monotonic() + self._deadline_seconds)
        self._queue.append(waiting)
        self._queued_bytes += waiting.size
        self._arrived.set()
        problem = await answer
        if problem is not None:
            self._minutes.not_stored(1)
            raise problem

    async def _write_groups(self) -> None:
        while self._queue or not self._closing:
            if not await self._has_arrived():
                await self._probe()
                continue
            self._in_flight = self._take(MAX_GROUP_EVENTS)
            if not self._queue:
                self._arrived.clear()
            for group in by_time(self._in_flight, lambda waiting: waiting.event.timestamp):
                try:
                    await self._flush(group)
                except Exception as error:
                    # Whatever it was: the next group must have its turn.
                    self._give_up(group, Failure.DEFECT, error)
            self._in_flight = []

    async def _has_arrived(self) -> bool:
        if not self._arrived.is_set():
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._arrived.wait()
            except TimeoutError:
                return False
        return True

    async def _probe(self) -> None:
        try:
            await self._store.check()
        except Exception as error:
            self._note_away(classify(error), error)
        else:
            self._note_back()

    def _take(self, count: int) -> list[Waiting]:
        taken, self._queue = self._queue[:count], self._queue[count:]
        self._queued_bytes -= sum(waiting.size for waiting in taken)
        return taken

    async def _flush(self, group: Sequence[Waiting], *, again: bool = False) -> None:
        """Write the group, whatever it takes, until each of its events has an answer."""
        pause = FIRST_PAUSE_SECONDS
        while group := [waiting for waiting in group if not waiting.answer.done()]:
            started = time.monotonic()
            try:
                events = [waiting.event for waiting in group]
                given = any(event.id_is_given for event in events)
                await self._store.write(events, again=again or given)
            except Exception as error:
                failure = classify(error)
                ours = failure is Failure.DEFECT and not isinstance(error, psycopg.Error)
                if len(group) > 1 and (failure is Failure.REFUSED or ours):
                    half = len(group) // 2
                    await self._flush(group[:half], again=again)
                    await self._flush(group[half:], again=again)
                elif failure in (Failure.REFUSED, Failure.DEFECT):
                    self._give_up(group, failure, error)
                else:
                    if failure is Failure.AWAY:
                        self._note_away(failure, error)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                    again = True
            else:
                self._note_written(group, time.monotonic() - started)

    def _note_written(self, group: Sequence[Waiting], seconds: float) -> None:
        for waiting in group:
            waiting.resolve(None)
        accepted = min(waiting.expires for waiting in group) - self._deadline_seconds
        self._minutes.stored(len(group), time.monotonic() - accepted)
        self._note_back()
        log.info("flush", events=len(group), milliseconds=round(seconds * 1000, 2))

    def _note_back(self) -> None:
        if self.away is not None:
            log.info("database is back")
            self.away = None

    def _note_away(self, failure: Failure, error: BaseException) -> None:
        if self.away is None:
            log.error("database is away", failure=failure.value, error=first_line(error))
        self.away = first_line(error)

    def _give_up(self, group: Sequence[Waiting], failure: Failure, error: BaseException) -> None:
        log.error(
            "events not stored", events=len(group), failure=failure.value, error=first_line(error)
        )
        kind = ProblemKind.REFUSED_EVENT if failure is Failure.REFUSED else ProblemKind.DEFECT
        for waiting in group:
            waiting.resolve(Problem(kind, "The event was not stored."))

    async def _expire_regularly(self) -> None:
        while True:
            await asyncio.sleep(EXPIRY_SECONDS)
            now = time.monotonic()
            # The queue is in order of arrival, so what has expired stands at its head.
            for waiting in self._take(bisect_left(self._queue, now, key=lambda one: one.expires)):
                waiting.resolve(
                    Problem(ProblemKind.NOT_STORED, "The event was not stored. Send it again.")
                )
            for waiting in self._in_flight:
                if waiting.expires < now:
                    waiting.resolve(_unknown_outcome(waiting.event))


def _unknown_outcome(event: Event) -> Problem:
    return Problem(
        ProblemKind.NOT_STORED,
        "The database did not confirm the event in time. Send it again with this event_id.",
        more={"event_id": str(UUID(bytes=event.event_id))},
    )
