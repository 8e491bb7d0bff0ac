"""Brings what was spooled to the database once it is back, beside what comes anew."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Protocol, Self

import psycopg
import structlog

from service.database.failures import Failure, classify, first_line
from service.events import MICROSECONDS, Event
from service.ingest.lateness import by_time
from service.ingest.spool import Spool
from service.ingest.spool.segments import DAMAGED, read
from service.ingest.waiting import Settled
from service.ingest.writing import GroupStore, set_aside, write_settled
from service.metrics import (
    EVENTS_REJECTED,
    REPLAYED_EVENTS,
    SPOOL_DAMAGED_BYTES,
    count_database_error,
)

log = structlog.get_logger()

BATCH_EVENTS = 1000
LOOK_SECONDS = 0.5
"""How often it is looked whether there is something to replay."""
ADOPT_SECONDS = 10.0
"""How often it is looked for spools whose workers have ended."""
LONGEST_PAUSE_SECONDS = 30.0
"""After a failure; the first pause is LOOK_SECONDS, and it doubles."""


class ReplayError(Exception):
    """Some events of the spool can't be stored; they stay in it."""


class NotKeptError(Exception):
    """The event is older than what is kept at all (retention)."""


class ReplayStore(GroupStore, Protocol):
    """What is written to, and what it still takes."""

    async def retained_from(self) -> int:
        """Return since when events are kept, as microseconds since 1970."""


class Replay:
    """Replays the spool, the oldest segment first, while it is entered as a context.

    A segment is deleted after its last event was committed. If the process dies before that, it is
    replayed again; each event has its id, so it is stored once. Between batches it waits as long as
    a batch took: half of the database's time is for events that come anew.
    """

    def __init__(
        self,
        spool: Spool,
        store: ReplayStore,
        *,
        away: Callable[[], str | None],
        refresh: Callable[[datetime, datetime], Awaitable[None]],
    ) -> None:
        self._spool = spool
        self._store = store
        self._away = away
        self._refresh = refresh
        self._adopt_at = time.monotonic() + ADOPT_SECONDS
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start to look."""
        self._task = asyncio.create_task(self._run(), name="replay")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, at any point: what was not finished is replayed another time."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._store.close()

    async def _run(self) -> None:
        pause = LOOK_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                await self._adopt()
                if self._spool.bytes and self._away() is None:
                    await self._replay_all()
                pause = LOOK_SECONDS
            except Exception as error:
                count_database_error(error)
                log.error("replay failed", error=first_line(error))
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _adopt(self) -> None:
        if time.monotonic() >= self._adopt_at:
            self._adopt_at = time.monotonic() + ADOPT_SECONDS
            if adopted := await asyncio.to_thread(self._spool.adopt):
                log.info("spools adopted", spools=adopted, bytes=self._spool.bytes)

    async def _replay_all(self) -> None:
        kept_since = await self._store.retained_from()
        replayed: list[Segment] = []
        unread = 0
        for path in await self._spool.segments():
            try:
                replayed.append(await self._replay(path, kept_since))
            except (psycopg.Error, TimeoutError):
                raise  # The database is away.
            except Exception as error:
                log.error("segment not replayed", segment=path.name, error=first_line(error))
                unread += 1
        timestamps = [timestamp for one in replayed for timestamp in one.range]
        if timestamps:
            await self._refresh(_moment(min(timestamps)), _moment(max(timestamps) + 1))
        if (stuck := sum(one.stuck for one in replayed)) or unread:
            raise ReplayError(
                f"{stuck} events can't be stored, and {unread} files not read or removed; "
                "they stay in the spool"
            )

    async def _replay(self, path: Path, kept_since: int) -> "Segment":
        started = time.monotonic()
        segment = Segment(self._store, kept_since)
        records = await asyncio.to_thread(read, path)
        while batch := await asyncio.to_thread(list, islice(records, BATCH_EVENTS)):
            began = time.monotonic()
            await segment.write(batch)
            await asyncio.sleep(time.monotonic() - began)
        if not segment.stuck:
            await self._spool.remove(path, damaged=segment.damaged > 0)
        refused = len(segment.settled.refused)
        log.info(
            "replayed",
            events=segment.events,
            stored_already=segment.settled.known.total(),
            refused=refused,
            stuck=segment.stuck,
            milliseconds=round((time.monotonic() - started) * 1000),
            bytes_left=self._spool.bytes,
        )
        EVENTS_REJECTED.inc(refused)
        REPLAYED_EVENTS.inc(segment.events - refused - segment.stuck)
        if segment.damaged:
            SPOOL_DAMAGED_BYTES.inc(segment.damaged)
            kept_as = path.with_suffix(DAMAGED).name
            log.error("spool is damaged", bytes=segment.damaged, kept_as=kept_as)
        return segment


class Segment:
    """What became of a segment's events."""

    def __init__(self, store: ReplayStore, kept_since: int) -> None:
        self._store = store
        self._kept_since = kept_since
        self.settled = Settled()
        self.events = 0
        self.damaged = 0
        """Bytes that are no events any more."""
        self.range: tuple[int, ...] = ()
        """The earliest and the latest timestamp, if there is any."""
        self._stuck = 0

    @property
    def stuck(self) -> int:
        """How many events could be neither stored nor set aside."""
        return self._stuck + len(self.settled.broken) + len(self.settled.not_set_aside)

    async def write(self, records: Sequence[Event | int]) -> None:
        """Write some of its events. Raises what says that the database is away."""
        events = [one for one in records if isinstance(one, Event)]
        self.damaged += sum(one for one in records if isinstance(one, int))
        self.events += len(events)
        if not events:
            return
        timestamps = (*self.range, *(event.timestamp for event in events))
        self.range = (min(timestamps), max(timestamps))
        kept = [event for event in events if event.timestamp >= self._kept_since]
        for event in events:
            if event.timestamp < self._kept_since:
                await set_aside(
                    self._store, event, self.settled, NotKeptError(NotKeptError.__doc__)
                )
        for part in by_time(kept, lambda event: event.timestamp):
            self._stuck += await self._write(part)

    async def _write(self, events: Sequence[Event]) -> int:
        """Return how many of the events can't be stored, while others can."""
        try:
            await write_settled(self._store, events, self.settled, again=True)
        except psycopg.Error as error:
            if classify(error) is not Failure.DEFECT:
                raise
            if len(events) == 1:
                log.error("spooled event not stored", error=first_line(error))
                return 1
            half = len(events) // 2
            return await self._write(events[:half]) + await self._write(events[half:])
        return 0


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / MICROSECONDS, UTC)
