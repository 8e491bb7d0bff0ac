"""What ingest did in each minute: counted in memory, written to the table ingest_minutes."""

import asyncio
import math
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID, uuid4

import psycopg
import structlog

from service.beside import comes
from service.database.connections import connect, load_query, within
from service.database.failures import first_line

log = structlog.get_logger()

SECONDS = 60
KEPT_MINUTES = 24 * 60
"""How many minutes wait in memory while the database is away; older ones are forgotten."""
WRITE_SECONDS = 2.0

RESOLUTION = 20
"""Waits are counted in classes a twentieth of a power of e wide: percentiles are off by 2.5 %."""

INSERT = load_query("insert_ingest_minute")


@dataclass
class Minute:
    """Counts of one minute."""

    number: int
    """Minutes since 1970."""
    flushes: int = 0
    not_stored: int = 0
    longest: float = 0.0
    """Seconds."""
    waits: Counter[int] = field(default_factory=Counter)
    """How many events waited about e ** (class / RESOLUTION) seconds."""
    spooled: int = 0
    replayed: int = 0
    refused: int = 0
    spool_bytes: int = 0
    """At its end."""
    report_id: UUID = field(default_factory=uuid4)
    """Names its row, which may be written twice where nobody knows whether it was."""

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing to tell."""
        return not (
            self.flushes
            or self.not_stored
            or self.spooled
            or self.replayed
            or self.refused
            or self.spool_bytes
        )

    def row(self) -> dict[str, Any]:
        """Return the values of insert_ingest_minute.sql, but for the instance."""
        return {
            "minute": datetime.fromtimestamp(self.number * SECONDS, UTC),
            "events": self.waits.total(),
            "flushes": self.flushes,
            "not_stored": self.not_stored,
            "p50_ms": self.percentile(0.50),
            "p95_ms": self.percentile(0.95),
            "p99_ms": self.percentile(0.99),
            "max_ms": self.longest * 1000 if self.flushes else None,
            "spooled": self.spooled,
            "replayed": self.replayed,
            "refused": self.refused,
            "spool_bytes": self.spool_bytes,
            "report_id": self.report_id,
        }

    def percentile(self, share: float) -> float | None:
        """Return the milliseconds within which that share of the events was committed."""
        rest = self.waits.total() * share
        for wait in sorted(self.waits):
            rest -= self.waits[wait]
            if rest <= 0:
                return min(math.exp(wait / RESOLUTION), self.longest) * 1000
        return None


class Minutes:
    """Counts, as writer and replay tell; a group costs the same whatever its size."""

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        *,
        spool_bytes: Callable[[], int] = lambda: 0,
    ) -> None:
        self._clock = clock
        self._spool_bytes = spool_bytes
        self._current = Minute(self._number())
        self._over: deque[Minute] = deque(maxlen=KEPT_MINUTES)

    def stored(self, events: int, waited_seconds: float) -> None:
        """Count a group, of which the first event waited so long."""
        minute = self._now()
        minute.flushes += 1
        minute.longest = max(minute.longest, waited_seconds)
        minute.waits[round(math.log(max(waited_seconds, 1e-6)) * RESOLUTION)] += events

    def not_stored(self, events: int) -> None:
        """Count events whose senders got another answer than 202."""
        self._now().not_stored += events

    def spooled(self, events: int) -> None:
        """Count events that went to the spool, and are among those of stored()."""
        self._now().spooled += events

    def replayed(self, events: int, *, refused: int) -> None:
        """Count events of the spool that the database has now, and others that it refused."""
        minute = self._now()
        minute.replayed += events
        minute.refused += refused

    def take(self, *, unfinished: bool = False) -> list[Minute]:
        """Return the minutes that are over and were not taken yet, or all of them."""
        if unfinished or self._current.number < self._number():
            self._close()
        taken = list(self._over)
        self._over.clear()
        return taken

    def put_back(self, minutes: list[Minute]) -> None:
        """Keep minutes that could not be written, for another attempt."""
        self._over = deque([*minutes, *self._over], maxlen=KEPT_MINUTES)

    def _number(self) -> int:
        return int(self._clock() // SECONDS)

    def _now(self) -> Minute:
        if self._current.number != self._number():
            self._close()
        return self._current

    def _close(self) -> None:
        self._current.spool_bytes = self._spool_bytes()
        if not self._current.is_quiet:
            self._over.append(self._current)
        self._current = Minute(self._number())


class MinuteReports:
    """Writes each minute once it is over, and the last one at the end, while it is entered."""

    def __init__(self, minutes: Minutes, database_url: str) -> None:
        self._minutes = minutes
        self._database_url = database_url
        self._instance = f"{socket.gethostname()}:{os.getpid()}"
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start to report."""
        self._task = asyncio.create_task(self._report_regularly(), name="minute reports")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Report the minute that has begun, and end."""
        self._closing.set()
        if self._task is not None:
            await self._task

    async def _report_regularly(self) -> None:
        while not self._closing.is_set():
            is_last = await comes(self._closing, within=SECONDS - time.time() % SECONDS)
            await self.report(unfinished=is_last)

    async def report(self, *, unfinished: bool = False) -> None:
        """Write what is over; what can't be written stays for the next time."""
        minutes = self._minutes.take(unfinished=unfinished)
        if not minutes:
            return
        try:
            await within(WRITE_SECONDS, self._write(minutes))
        except (psycopg.Error, TimeoutError, OSError) as error:
            log.warning("minutes not reported", minutes=len(minutes), error=first_line(error))
            self._minutes.put_back(minutes)

    async def _write(self, minutes: list[Minute]) -> None:
        rows = [minute.row() | {"instance": self._instance} for minute in minutes]
        # Once a minute a connection is cheaper to make than to keep.
        connecting = connect(self._database_url, statement_timeout_seconds=WRITE_SECONDS)
        async with await connecting as connection, connection.transaction():
            await connection.cursor().executemany(INSERT, rows)
