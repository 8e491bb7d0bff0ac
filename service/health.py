"""GET /health/live and /health/ready: for load balancers and container engines."""

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.beside import beside, comes
from service.database.connections import load_query, within
from service.database.failures import Failure, first_line
from service.ingest.spool import Spool
from service.ingest.writer import Writer
from service.metrics import count_database_error
from service.problems import Problem, ProblemKind

log = structlog.get_logger()

BEHIND = load_query("behind")
AGGREGATES = tuple(
    f"{name}_{width}"
    for name, widths in {
        "event_counts": ("minute", "quarter_hour", "daily"),
        "page_views": ("quarter_hour", "daily"),
        "element_clicks": ("quarter_hour", "daily"),
        "users": ("quarter_hour", "daily"),
    }.items()
    for width in widths
)
"""Those that are told of while the database does not say which there are."""
ASK_EVERY_SECONDS = 5.0
ASK_AGAIN_SECONDS = 1.0
"""After an attempt that failed."""
ASK_DEADLINE_SECONDS = 2.0
FAILURES = 2
"""So many in a row mean that the database is away; one may be a moment's load."""
DEGRADED = (
    "The database can't be written to. Events are kept on the local disk until it can; counts are "
    "not answered, or lack them."
)
NO_READS = "The database that counts and events are read from does not answer. Events are kept."


class Freshness:
    """How far behind the aggregates are, asked in the background: a probe never waits for it."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool
        self._asked_at = 0.0
        self._behind: dict[str, float | None] | None = None
        self._failures = 0

    @property
    def away(self) -> bool:
        """Whether the database that is read from gives no answer."""
        return self._failures >= FAILURES

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

    def asked_regularly(self) -> AbstractAsyncContextManager[None]:
        """Ask every few seconds while it is entered."""
        return beside(self._ask_until, name="freshness")

    async def _ask_until(self, closing: asyncio.Event) -> None:
        while not closing.is_set():
            try:
                self._behind = await within(ASK_DEADLINE_SECONDS, self._ask())
                self._asked_at = time.monotonic()
                self._note_answer()
            except (psycopg.Error, PoolTimeout, TimeoutError, OSError) as error:
                # The service is ready, or not, without this.
                self._behind = None
                self._note_failure(error)
            pause = ASK_AGAIN_SECONDS if self._failures else ASK_EVERY_SECONDS
            await comes(closing, within=pause)

    def _note_answer(self) -> None:
        if self.away:
            log.info("reads are back")
        self._failures = 0

    def _note_failure(self, error: Exception) -> None:
        if count_database_error(error) not in (Failure.AWAY, Failure.RETRY):
            self._note_answer()
            return
        self._failures += 1
        if self._failures == FAILURES:
            log.error("reads are away", error=first_line(error))

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
        elif freshness.away:
            answer = {"status": "degraded", "reason": NO_READS}
        answer["behind_seconds"] = freshness.behind_seconds()
        answer["spool_bytes"] = 0 if spool is None else spool.bytes
        return JSONResponse(answer)

    return [Route("/health/live", live), Route("/health/ready", ready)]
