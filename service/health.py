"""GET /health/live and /health/ready: for load balancers and container engines."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.database.connections import load_query, within
from service.ingest.spool import Spool
from service.ingest.writer import Writer
from service.metrics import count_database_error
from service.problems import Problem, ProblemKind

BEHIND = load_query("behind")
ASK_EVERY_SECONDS = 5.0
ASK_DEADLINE_SECONDS = 2.0
DEGRADED = (
    "The database can't be written to. Events are kept on the local disk until it can; counts are "
    "not answered, or lack them."
)


class Freshness:
    """How far behind the aggregates are, asked in the background: a probe never waits for it."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool
        self._asked_at = 0.0
        self._behind: dict[str, float | None] | None = None

    def behind_seconds(self) -> dict[str, float | None] | None:
        """Return by aggregate how long ago what it has taken in ends, and None where none is known.

        None for all while the database does not say.
        """
        if self._behind is None:
            return None
        since = time.monotonic() - self._asked_at
        return {
            name: None if behind is None else round(behind + since, 1)
            for name, behind in self._behind.items()
        }

    @asynccontextmanager
    async def asked_regularly(self) -> AsyncIterator[None]:
        """Ask every few seconds while it is entered."""
        closing = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ask_until(closing), name="freshness")
            try:
                yield
            finally:
                closing.set()

    async def _ask_until(self, closing: asyncio.Event) -> None:
        while not closing.is_set():
            try:
                self._behind = await within(ASK_DEADLINE_SECONDS, self._ask())
                self._asked_at = time.monotonic()
            except (psycopg.Error, PoolTimeout, TimeoutError, OSError) as error:
                # The service is ready, or not, without this.
                count_database_error(error)
                self._behind = None
            with suppress(TimeoutError):
                async with asyncio.timeout(ASK_EVERY_SECONDS):
                    await closing.wait()

    async def _ask(self) -> dict[str, float | None]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(BEHIND)
            return dict(await cursor.fetchall())


def routes(writer: Writer, spool: Spool | None, freshness: Freshness) -> list[Route]:
    """Return the routes of health."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> Response:
        if writer.full:
            raise Problem(ProblemKind.NOT_READY, "Too many events are waiting to be stored.")
        answer: dict[str, Any] = {"status": "ready"}
        if writer.away is not None:
            if not writer.spools:
                why = "there is no spool" if spool is None else "the spool can take no more"
                detail = f"The database can't be written to, and {why}."
                raise Problem(ProblemKind.NOT_READY, detail)
            answer = {"status": "degraded", "reason": DEGRADED}
        answer["behind_seconds"] = freshness.behind_seconds()
        answer["spool_bytes"] = 0 if spool is None else spool.bytes
        return JSONResponse(answer)

    return [Route("/health/live", live), Route("/health/ready", ready)]
