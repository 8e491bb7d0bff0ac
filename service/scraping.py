"""GET /metrics, and the gauges that are measured for it."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.health import AGGREGATES, Freshness
from service.ingest.spool import Spool
from service.ingest.writer import Writer
from service.measured import Measured
from service.metrics import (
    BEHIND_SECONDS,
    DATABASE_AWAY,
    POOL_CONNECTIONS,
    POOL_WAITING,
    QUEUE_BYTES,
    QUEUE_EVENTS,
    READS_AWAY,
    SPOOL_BYTES,
    SPOOL_FOREIGN_FOLDERS,
    exposition,
)

MEASURE_EVERY_SECONDS = 1.0
"""A worker is scraped through another one, which can't ask it."""


class Gauges:
    """What is not counted as it happens, but looked at."""

    def __init__(
        self,
        pool: AsyncConnectionPool[AsyncConnection],
        freshness: Freshness,
        writer: Writer,
        spool: Spool | None,
        measured: Measured,
    ) -> None:
        self._pool = pool
        self._freshness = freshness
        self._writer = writer
        self._spool = spool
        self._measured = measured
        self._aggregates = set(AGGREGATES)

    def measure(self) -> None:
        """Set the gauges, and count what was answered."""
        self._measured.tell()
        QUEUE_EVENTS.set(self._writer.queued_events)
        QUEUE_BYTES.set(self._writer.queued_bytes)
        DATABASE_AWAY.set(self._writer.away is not None)
        READS_AWAY.set(self._freshness.away)
        SPOOL_BYTES.set(0 if self._spool is None else self._spool.bytes)
        SPOOL_FOREIGN_FOLDERS.set(0 if self._spool is None else self._spool.foreign)
        stats = self._pool.get_stats()
        size, idle = stats["pool_size"], stats["pool_available"]
        POOL_CONNECTIONS.labels("idle").set(idle)
        POOL_CONNECTIONS.labels("used").set(size - idle)
        POOL_WAITING.set(stats["requests_waiting"])
        behind = self._freshness.behind_seconds() or {}
        self._aggregates |= behind.keys()
        for name in self._aggregates:
            seconds = behind.get(name)
            BEHIND_SECONDS.labels(name).set(math.nan if seconds is None else seconds)

    @asynccontextmanager
    async def measured_regularly(self) -> AsyncIterator[None]:
        """Measure every second while it is entered."""
        task = asyncio.create_task(self._measure_regularly(), name="gauges")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self._measured.tell()

    async def _measure_regularly(self) -> None:
        while True:
            self.measure()
            await asyncio.sleep(MEASURE_EVERY_SECONDS)


def routes(gauges: Gauges) -> list[Route]:
    """Return the route of metrics."""

    async def metrics(_: Request) -> Response:
        gauges.measure()
        # Several workers' files are read: not in the way of events.
        text = await asyncio.to_thread(exposition)
        return Response(text, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    return [Route("/metrics", metrics)]
