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

from service.database.failures import first_line
from service.events import MICROSECONDS
from service.ingest.minutes import Minutes
from service.ingest.replayed import Replayed, ReplayStore
from service.ingest.spool import Spool
from service.ingest.spool.segments import DAMAGED, read
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
LONGEST_DELAY_SECONDS = 300.0
"""The same for a segment of which something can't be stored, while the database takes others."""


class Outages(Protocol):
    """What is known of the database by who writes to it."""

    @property
    def away(self) -> str | None:
        """Why it can't be written to at the moment; None while it can."""

    @property
    def outages(self) -> int:
        """How often it could not be."""


class Replay:
    """Replays the spool, the oldest segment first, while it is entered as a context.

    A segment is deleted after its last event was committed. If the process dies before that, it is
    replayed again; each event has its id, so it is stored once. Events that can't be stored are all
    that is left of theirs, and are tried again, less and less often. Between batches it waits as
    long as a batch took: half of the database's time is for events that come anew.
    """

    def __init__(
        self,
        spool: Spool,
        store: ReplayStore,
        *,
        known: Outages,
        minutes: Minutes,
        refresh: Callable[[datetime, datetime], Awaitable[None]],
    ) -> None:
        self._spool = spool
        self._store = store
        self._known = known
        self._minutes = minutes
        self._refresh = refresh
        self._identity: str | None = None
        self._outages = 0
        self._delays = Delays()
        self._adopt_at = time.monotonic() + ADOPT_SECONDS
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Adopt what earlier processes left for this database, if it says which, and start."""
        with suppress(psycopg.Error, TimeoutError, OSError):
            await self._identify()
            await self._adopt()
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
                is_there = self._known.away is None
                if is_there and self._may_be_another():
                    await self._identify()
                await self._adopt()
                if is_there and self._spool.bytes:
                    await self._replay_all()
                pause = LOOK_SECONDS
            except Exception as error:
                if isinstance(error, psycopg.Error | TimeoutError):
                    count_database_error(error)
                log.error("replay failed", error=first_line(error))
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _may_be_another(self) -> bool:
        # What comes back after an outage need not be what went.
        is_new = self._identity is None or self._outages != self._known.outages
        return is_new or self._spool.bytes > 0

    async def _identify(self) -> None:
        """Let the spool know its database, also where it has become another one."""
        outages = self._known.outages
        identity = await self._store.identity()
        self._outages = outages
        await self._spool.bind(identity)
        if identity != self._identity:
            self._identity = identity
            self._adopt_at = time.monotonic()

    async def _adopt(self) -> None:
        if time.monotonic() >= self._adopt_at:
            self._adopt_at = time.monotonic() + ADOPT_SECONDS
            if adopted := await asyncio.to_thread(self._spool.adopt):
                log.info("spools adopted", spools=adopted, bytes=self._spool.bytes)

    async def _replay_all(self) -> None:
        timestamps: list[int] = []
        for path in await self._spool.segments():
            if self._delays.is_due(path):
                timestamps += await self._replay(path)
        if timestamps:
            await self._refresh(_moment(min(timestamps)), _moment(max(timestamps) + 1))

    async def _replay(self, path: Path) -> Sequence[int]:
        """Return the earliest and the latest timestamp of what is done, if there is any."""
        try:
            replayed = await self._bring(path)
        except (psycopg.Error, TimeoutError):
            raise  # The database is away.
        except Exception as error:
            seconds = self._delays.put_off(path)
            log.error(
                "segment not replayed",
                segment=path.name,
                error=first_line(error),
                next_in_seconds=seconds,
            )
            return ()
        if not replayed.left:
            self._delays.forget(path)
        else:
            seconds = self._delays.put_off(path)
            log.error(
                "events stay in the spool",
                segment=path.name,
                events=len(replayed.left),
                next_in_seconds=seconds,
            )
        return replayed.range

    async def _bring(self, path: Path) -> Replayed:
        """Bring a segment's events to the database, and remove those that are done."""
        started = time.monotonic()
        replayed = Replayed(self._store)
        records = await asyncio.to_thread(read, path)
        while batch := await asyncio.to_thread(list, islice(records, BATCH_EVENTS)):
            began = time.monotonic()
            await replayed.write(batch)
            await asyncio.sleep(time.monotonic() - began)
        left, damaged = replayed.left, replayed.damaged
        if len(left) < replayed.events or damaged or not left or replayed.has_untried:
            await self._spool.remove(path, damaged=damaged > 0, left=left)
        log.info(
            "replayed",
            events=replayed.events,
            stored_already=replayed.stored_already,
            refused=replayed.refused,
            left=len(left),
            milliseconds=round((time.monotonic() - started) * 1000),
            bytes_left=self._spool.bytes,
        )
        brought = replayed.events - replayed.refused - len(left)
        EVENTS_REJECTED.inc(replayed.refused)
        REPLAYED_EVENTS.inc(brought)
        self._minutes.replayed(brought, refused=replayed.refused)
        if damaged:
            SPOOL_DAMAGED_BYTES.inc(damaged)
            kept_as = path.with_suffix(DAMAGED).name
            log.error("spool is damaged", bytes=damaged, kept_as=kept_as)
        return replayed


class Delays:
    """When segments of which something can't be stored are tried again."""

    def __init__(self) -> None:
        self._due: dict[Path, tuple[float, float]] = {}
        """The moment, in seconds of time.monotonic(), and the pause before it."""

    def is_due(self, path: Path) -> bool:
        """Return whether a segment may be tried; one that never was may."""
        return self._due.get(path, (0.0, 0.0))[0] <= time.monotonic()

    def put_off(self, path: Path) -> float:
        """Let a segment wait twice as long as the last time, and return how many seconds."""
        _, before = self._due.get(path, (0.0, LOOK_SECONDS))
        seconds = min(2 * before, LONGEST_DELAY_SECONDS)
        self._due[path] = time.monotonic() + seconds, seconds
        return seconds

    def forget(self, path: Path) -> None:
        """Take note that nothing is left of a segment."""
        self._due.pop(path, None)


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / MICROSECONDS, UTC)
