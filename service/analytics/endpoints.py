"""GET /analytics/*: each parses its query, asks one SQL function, answers JSON."""

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.analytics.kept import not_kept
from service.analytics.parameters import CountQuery, RangeQuery, parse_query
from service.database.connections import load_query, within
from service.database.failures import Failure, classify
from service.problems import Problem, ProblemKind

EVENT_COUNTS = load_query("event_counts")


def routes(pool: AsyncConnectionPool[AsyncConnection], *, deadline_seconds: float) -> list[Route]:
    """Return the routes of analytics."""

    async def event_counts(request: Request) -> Response:
        query = parse_query(CountQuery, request.scope["query_string"])
        counts = await counts_by_type(pool, query, deadline_seconds)
        wanted = counts.values() if query.event_type is None else [counts.get(query.event_type, 0)]
        return JSONResponse({"total_events": sum(wanted)})

    async def event_counts_by_type(request: Request) -> Response:
        query = parse_query(RangeQuery, request.scope["query_string"])
        return JSONResponse(await counts_by_type(pool, query, deadline_seconds))

    return [
        Route("/analytics/event-counts", event_counts),
        Route("/analytics/event-counts-by-type", event_counts_by_type),
    ]


async def counts_by_type(
    pool: AsyncConnectionPool[AsyncConnection], query: RangeQuery, deadline_seconds: float
) -> dict[str, int]:
    """Return the exact counts of a range, types with none left out. Raises Problem."""
    range_start, range_end = query.half_open()
    values = {"range_start": range_start, "range_end": range_end, "site": query.site}

    async def count() -> dict[str, int]:
        async with pool.connection() as connection:
            cursor = await connection.execute(EVENT_COUNTS, values)
            return dict(await cursor.fetchall())

    try:
        return await within(deadline_seconds, count())
    except (psycopg.Error, PoolTimeout, TimeoutError) as error:
        if (problem := not_kept(error, query)) is not None:
            raise problem from None
        if classify(error) in (Failure.AWAY, Failure.RETRY):
            raise Problem(ProblemKind.COUNTS_UNAVAILABLE, "Try again in a moment.") from error
        raise
