"""Group commit: requests hand their events over and wait; what is there is written as one group.

While a group is being written the next one gathers, so groups grow with the load. It is written
beside the first once as many events wait as are under way, or one of them has waited for long: the
database has something to do while a commit waits for the disk, and groups stay large. While the
database is away they go to the spool.
"""

import asyncio
import time
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate
from operator import attrgetter
from typing import Self

import structlog

from service.beside import comes
from service.database.connections import within
from service.database.failures import Failure, first_line
from service.events import Event
from service.ingest.group import Group
from service.ingest.minutes import Minutes
from service.ingest.presence import Presence
from service.ingest.spool import Spool, SpoolFullError
from service.ingest.waiting import Kept, Waiting, too_late, too_many, unknown_outcome
from service.ingest.writing import GroupStore
from service.metrics import EVENTS_NOT_STORED, FLUSH_EVENTS, FLUSH_SECONDS
from service.problems import Problem, ProblemKind

log = structlog.get_logger()

MAX_GROUP_EVENTS = 10_000
EXPIRY_SECONDS = 0.1
"""How often it is looked for events whose deadline has passed, or that are held up."""
HELD_UP_SECONDS = 0.1
"""After so long few events are written beside many, too: these may be stuck."""
PROBE_SECONDS = 1.0
"""How often an idle writer asks whether the database can be written to."""
SHORTEST = 0.25
"""Of the deadline: as much is a group given to be kept, however late the first of it is."""
RETRY_SECONDS = 0.05
"""Between attempts to keep a group that neither the database nor the spool takes."""
DEFECT = "The fault is ours, and has been logged. Send it again under the given id."
AWAY_SECONDS = 1.5
"""How long an event waits for a database that is away, where no spool takes it."""

_BY_EXPIRY = attrgetter("expires")


class Writer:
    """Takes the events of requests, writes groups, while it is entered as a context."""

    def __init__(
        self,
        store: GroupStore,
        minutes: Minutes,
        spool: Spool | None,
        *,
        groups: int,
        queue_events: int,
        queue_bytes: int,
        deadline_seconds: float,
    ) -> None:
        self._store = store
        self._minutes = minutes
        self._spool = spool
        self._spool_is_full = False
        self._presence = Presence(store)
        self._most_groups = groups
        self._queue_events = queue_events
        self._queue_bytes = queue_bytes
        self._deadline_seconds = deadline_seconds
        self._queue: list[Waiting] = []
        """In the order in which they expire."""
        self.queued_events = 0
        self.queued_bytes = 0
        """About."""
        self._groups: list[Group] = []
        """Those that are being written."""
        self._events_in_groups = 0
        self._bytes_in_groups = 0
        self._due = asyncio.Event()
        """Whether a group may be due."""
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Start to write, and know whether that is possible."""
        await self._presence.probe()
        self._tasks = [
            asyncio.create_task(self._write_groups(), name="writer"),
            asyncio.create_task(self._expire_regularly(), name="expiry"),
            asyncio.create_task(self._presence.seek(), name="seek"),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write what is queued, then end. New events are answered 503 from now on."""
        self._closing = True
        self._due.set()
        writing, *others = self._tasks
        try:
            await writing
        finally:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await self._store.close()

    @property
    def away(self) -> str | None:
        """Why the database can't be written to at the moment, as far as the writer knows."""
        return self._presence.away

    @property
    def outages(self) -> int:
        """How often it could not be written to."""
        return self._presence.outages

    @property
    def full(self) -> bool:
        """Whether another event would be answered 503."""
        return not self._has_room(1)

    @property
    def spools(self) -> bool:
        """Whether the spool would take what the database does not."""
        return self._spool is not None and not self._spool.is_full()

    def _has_room(self, events: int) -> bool:
        # What alone is more than may wait has its turn when nothing else waits.
        return self.queued_bytes + self._bytes_in_groups < self._queue_bytes and (
            not self._queue or self.queued_events + events <= self._queue_events
        )

    def deadline(self) -> float:
        """Return when expires what comes now; seconds of time.monotonic()."""
        return time.monotonic() + self._deadline_seconds

    async def keep(self, events: Sequence[Event], *, expires: float | None = None) -> Kept:
        """Return once the events, one at least, are committed or in the spool.

        They may `expire` earlier than those that come now: see deadline(). Raises Problem: none is
        kept. The exception is a problem that bears `event_ids`: of these the outcome is not known.
        Who is cancelled meanwhile is told that, too.
        """
        if self._closing or not self._has_room(len(events)):
            self._note_not_stored(len(events))
            raise too_many()
        if expires is None:
            expires = self.deadline()
        elif expires <= time.monotonic():
            self._note_not_stored(len(events))
            raise too_late()
        waiting = Waiting(events, expires)
        insort(self._queue, waiting, key=_BY_EXPIRY)
        self.queued_events += len(events)
        self.queued_bytes += waiting.size
        self._note_due()
        try:
            answer = await waiting.answer
        except asyncio.CancelledError:
            # A stop waits no longer; the writer keeps the events all the same.
            raise unknown_outcome(events) from None
        if isinstance(answer, Problem):
            raise answer
        return answer

    def _note_due(self) -> None:
        """See whether a group is due, and let it be taken.

        One is as soon as anything waits, one beside another if as much waits as is under way; or,
        as _note_held_up() says, if it has waited for long.
        """
        if (
            self._queue
            and len(self._groups) < self._most_groups
            and self.queued_events >= min(self._events_in_groups, MAX_GROUP_EVENTS)
        ):
            self._due.set()

    def _note_held_up(self) -> None:
        """Let a group be taken, if one may be, where the first event has waited for long."""
        if self._queue and self.deadline() - self._queue[0].expires >= HELD_UP_SECONDS:
            self._due.set()

    async def _write_groups(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while self._queue or not self._closing:
                if self._due.is_set() or await comes(self._due, within=PROBE_SECONDS):
                    self._due.clear()
                    self._begin_group(tasks)
                elif self.away is None and not self._groups:
                    await self._presence.probe()

    def _begin_group(self, tasks: asyncio.TaskGroup) -> None:
        if not self._queue or len(self._groups) >= self._most_groups:
            return
        waiting = self._take_group()
        with _told(waiting):
            group = Group(waiting)
            self._groups.append(group)
            self._events_in_groups += group.events
            self._bytes_in_groups += group.size
            tasks.create_task(self._write(group, waiting), name="group")
        self._note_due()

    async def _write(self, group: Group, waiting: Sequence[Waiting]) -> None:
        accepted = waiting[0].expires - self._deadline_seconds
        try:
            with _told(waiting):
                await self._keep(group)
        finally:
            self._groups.remove(group)
            self._events_in_groups -= group.events
            self._bytes_in_groups -= group.size
        with _told(waiting):
            self._note_outcome(group, accepted)
        self._note_due()

    def _note_outcome(self, group: Group, accepted: float) -> None:
        group.give_up()
        if group.kept:
            self._minutes.stored(group.kept, time.monotonic() - accepted)
        if group.not_kept:
            self._minutes.not_stored(group.not_kept)

    def _take_group(self) -> list[Waiting]:
        if self.queued_events <= MAX_GROUP_EVENTS:
            return self._take(len(self._queue))
        events = accumulate(len(waiting.events) for waiting in self._queue)
        return self._take(max(1, sum(1 for count in events if count <= MAX_GROUP_EVENTS)))

    def _take(self, count: int) -> list[Waiting]:
        taken, self._queue = self._queue[:count], self._queue[count:]
        self.queued_events -= sum([len(waiting.events) for waiting in taken])
        self.queued_bytes -= sum([waiting.size for waiting in taken])
        return taken

    async def _keep(self, group: Group) -> None:
        """Write a group, or spool it, as often as it takes until its senders have an answer."""
        while group.is_awaited:
            if self.away is None and await self._is_written(group):
                return
            if self._spool is not None and await self._is_spooled(self._spool, group):
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def _is_written(self, group: Group) -> bool:
        started = time.monotonic()
        events = sum(len(one.events) for one in group.waiting)
        seconds = self._deadline_seconds
        if self._spool is not None:
            # Half of the time that is left is the spool's. One that was late already does not make
            # a database that is there seem to be away.
            seconds = max(group.seconds_left, seconds * SHORTEST) / 2
        group.is_being_written = True
        try:
            await within(seconds, group.write(self._store))
        except Exception as error:
            failure = self._presence.note_failed(error)
            if failure is Failure.DEFECT and self._spool is None:
                raise
            return False
        finally:
            group.is_being_written = False
        self._presence.note_written()
        seconds = time.monotonic() - started
        log.info("flush", events=events, milliseconds=round(seconds * 1000, 2))
        FLUSH_EVENTS.observe(events)
        FLUSH_SECONDS.observe(seconds)
        return True

    async def _is_spooled(self, spool: Spool, group: Group) -> bool:
        started = time.monotonic()
        events = group.unsettled
        try:
            await spool.append(events)
        except SpoolFullError as error:
            if not self._spool_is_full:
                log.error("spool is full", error=first_line(error))
            self._spool_is_full = True
            return False
        self._spool_is_full = False
        group.note_spooled()
        self._minutes.spooled(len(events))
        milliseconds = round((time.monotonic() - started) * 1000, 2)
        log.info("spooled", events=len(events), milliseconds=milliseconds)
        return True

    def _note_not_stored(self, events: int) -> None:
        self._minutes.not_stored(events)
        EVENTS_NOT_STORED.inc(events)

    async def _expire_regularly(self) -> None:
        while True:
            await asyncio.sleep(EXPIRY_SECONDS)
            # Nobody waits long for a database that is away if there is no spool.
            hurry = 0.0
            if self.away is not None and not self.spools:
                hurry = max(0.0, self._deadline_seconds - AWAY_SECONDS)
            else:
                self._note_held_up()
            now = time.monotonic()
            for waiting in self._take(bisect_left(self._queue, now + hurry, key=_BY_EXPIRY)):
                self._note_not_stored(len(waiting.events))
                waiting.resolve(too_late())
            for group in self._groups:
                # What is being written may succeed, whatever has become of others.
                latest = now if group.is_being_written else now + hurry
                for waiting in group.waiting:
                    if waiting.expires < latest:
                        waiting.resolve(unknown_outcome(waiting.events))


@contextmanager
def _told(waiting: Sequence[Waiting]) -> Iterator[None]:
    """Let what goes wrong be told to those who have no answer yet: the writer goes on."""
    try:
        yield
    except Exception as error:
        log.error("events not stored", error=first_line(error))
        # A part may have been committed: only the ids make sending it again harmless.
        for one in waiting:
            unknown = unknown_outcome(one.events)
            one.resolve(replace(unknown, kind=ProblemKind.DEFECT, detail=DEFECT))
