"""GET /health/live and /health/ready: for load balancers and container engines."""

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.database.connections import within
from service.ingest.writer import Writer
from service.problems import Problem, ProblemKind

PROBE_SECONDS = 2.0
"""How long a probe waits for the database."""


def routes(writer: Writer, pool: AsyncConnectionPool[AsyncConnection]) -> list[Route]:
    """Return the routes of health."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> Response:
        reason = await _why_not_ready(writer, pool)
        if reason is not None:
            raise Problem(ProblemKind.NOT_READY, reason)
        return JSONResponse({"status": "ready"})

    return [Route("/health/live", live), Route("/health/ready", ready)]


async def _why_not_ready(writer: Writer, pool: AsyncConnectionPool[AsyncConnection]) -> str | None:
    if writer.full:
        return "Too many events are waiting to be stored."
    if writer.away is not None:
        return "The database can't be written to."

    async def ask() -> None:
        async with pool.connection() as connection:
            await connection.execute("select 1")

    try:
        await within(PROBE_SECONDS, ask())
    except (psycopg.Error, PoolTimeout, TimeoutError):
        return "The database does not answer."
    return None
