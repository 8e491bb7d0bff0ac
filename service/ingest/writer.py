"""Group commit: requests hand their events over and wait; what is there is written as one group.

While a group is being written the next one gathers, so groups grow with the load and no event waits
for the sake of a larger group.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Self

import structlog

from service.database.failures import Failure, classify, first_line
from service.events import Event
from service.ingest.lateness import by_time
from service.ingest.minutes import Minutes
from service.ingest.waiting import Kept, Settled, Waiting, unknown_outcome
from service.ingest.writing import GroupStore, write_settled
from service.problems import Problem, ProblemKind

log = structlog.get_logger()

MAX_GROUP_EVENTS = 10_000
EXPIRY_SECONDS = 0.1
"""How often it is looked for events whose deadline has passed."""
PROBE_SECONDS = 1.0
"""How often an idle writer asks whether the database can be written to."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
"""Between attempts to reach a database that is away."""


class Writer:
    """Takes the events of requests, writes groups, while it is entered as a context."""

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
        self._queued_events = 0
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
        return not self._has_room(1)

    def _has_room(self, events: int) -> bool:
        # What alone is more than may wait has its turn when nothing else waits.
        return not self._queue or (
            self._queued_events + events <= self._queue_events
            and self._queued_bytes < self._queue_bytes
        )

    async def keep(self, events: Sequence[Event]) -> Kept:
        """Return once the events, one at least, are committed. Raises Problem: none is stored.

        The exception is a problem that bears `event_ids`: of these the outcome is not known.
        """
        if self._closing or not self._has_room(len(events)):
            self._minutes.not_stored(len(events))
            raise Problem(ProblemKind.QUEUE_FULL, "Nothing was stored. Send it again later.")
        waiting = Waiting(events, time.monotonic() + self._deadline_seconds)
        self._queue.append(waiting)
        self._queued_events += len(events)
        self._queued_bytes += waiting.size
        self._arrived.set()
        answer = await waiting.answer
        if isinstance(answer, Problem):
            self._minutes.not_stored(len(events))
            raise answer
        return answer

    async def _write_groups(self) -> None:
        while self._queue or not self._closing:
            if not await self._has_arrived():
                await self._probe()
                continue
            self._in_flight = self._take_group()
            if not self._queue:
                self._arrived.clear()
            try:
                await self._flush(self._in_flight)
            except Exception as error:
                # Whatever it was: the next group must have its turn.
                self._give_up(self._in_flight, error)
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

    def _take_group(self) -> list[Waiting]:
        if self._queued_events <= MAX_GROUP_EVENTS:
            return self._take(len(self._queue))
        events = accumulate(len(waiting.events) for waiting in self._queue)
        return self._take(max(1, sum(1 for count in events if count <= MAX_GROUP_EVENTS)))

    def _take(self, count: int) -> list[Waiting]:
        taken, self._queue = self._queue[:count], self._queue[count:]
        self._queued_events -= sum(len(waiting.events) for waiting in taken)
        self._queued_bytes -= sum(waiting.size for waiting in taken)
        return taken

    async def _flush(self, group: Sequence[Waiting]) -> None:
        """Write a group, whatever it takes; a sender is answered once all of its events are."""
        settled = Settled()
        parts = by_time(
            [event for waiting in group for event in waiting.events], lambda event: event.timestamp
        )
        for part in parts[:-1]:
            await self._write(part, group, settled)
            # The parts go back in time: what began after the end of this one is settled.
            since = min(event.timestamp for event in part)
            settled.answer([waiting for waiting in group if waiting.since >= since])
            group = [waiting for waiting in group if waiting.since < since]
        await self._write(parts[-1], group, settled)
        settled.answer(group)

    async def _write(
        self, events: Sequence[Event], group: Sequence[Waiting], settled: Settled
    ) -> None:
        """Write events as often as it takes, until their senders all have another answer."""
        again = False
        pause = FIRST_PAUSE_SECONDS
        while not all(waiting.answer.done() for waiting in group):
            started = time.monotonic()
            try:
                await write_settled(self._store, events, settled, again=again)
            except Exception as error:
                failure = classify(error)
                if failure not in (Failure.AWAY, Failure.RETRY):
                    raise
                if failure is Failure.AWAY:
                    self._note_away(failure, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                again = True
            else:
                self._note_written(events, group, time.monotonic() - started)
                return

    def _note_written(
        self, events: Sequence[Event], group: Sequence[Waiting], seconds: float
    ) -> None:
        accepted = group[0].expires - self._deadline_seconds
        self._minutes.stored(len(events), time.monotonic() - accepted)
        self._note_back()
        log.info("flush", events=len(events), milliseconds=round(seconds * 1000, 2))

    def _note_back(self) -> None:
        if self.away is not None:
            log.info("database is back")
            self.away = None

    def _note_away(self, failure: Failure, error: BaseException) -> None:
        if self.away is None:
            log.error("database is away", failure=failure.value, error=first_line(error))
        self.away = first_line(error)

    def _give_up(self, group: Sequence[Waiting], error: BaseException) -> None:
        events = sum(len(waiting.events) for waiting in group)
        log.error("events not stored", events=events, error=first_line(error))
        for waiting in group:
            waiting.resolve(Problem(ProblemKind.DEFECT, "Nothing was stored."))

    async def _expire_regularly(self) -> None:
        while True:
            await asyncio.sleep(EXPIRY_SECONDS)
            now = time.monotonic()
            # The queue is in order of arrival, so what has expired stands at its head.
            for waiting in self._take(bisect_left(self._queue, now, key=lambda one: one.expires)):
                waiting.resolve(
                    Problem(ProblemKind.NOT_STORED, "Nothing was stored. Send it again.")
                )
            for waiting in self._in_flight:
                if waiting.expires < now:
                    waiting.resolve(unknown_outcome(waiting.events))
