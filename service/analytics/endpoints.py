"""GET /analytics/*: each parses its query, asks one SQL function, answers JSON."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.analytics.breakdowns import breakdown_routes
from service.analytics.parameters import (
    FIRST_INSTANT,
    NOTHING,
    CountQuery,
    OverTimeQuery,
    RangeQuery,
    parse_query,
)
from service.analytics.questions import Pool, ask
from service.database.connections import load_query
from service.events import EVENT_TYPES

MINUTE = timedelta(minutes=1)

EVENT_COUNTS = load_query("event_counts")
EVENT_COUNTS_OVER_TIME = load_query("event_counts_over_time")


def routes(pool: Pool, *, deadline_seconds: float) -> list[Route]:
    """Return the routes of analytics."""

    async def counts_by_type(query: RangeQuery) -> dict[str, int]:
        return dict(await ask(pool, EVENT_COUNTS, query, deadline_seconds))

    async def event_counts(request: Request) -> Response:
        query = parse_query(CountQuery, request.scope["query_string"])
        counts = await counts_by_type(query)
        wanted = counts.values() if query.event_type is None else [counts.get(query.event_type, 0)]
        return JSONResponse({"total_events": sum(wanted)})

    async def event_counts_by_type(request: Request) -> Response:
        query = parse_query(RangeQuery, request.scope["query_string"])
        return JSONResponse(await counts_by_type(query))

    async def event_counts_over_time(request: Request) -> Response:
        query = parse_query(OverTimeQuery, request.scope["query_string"])
        rows = await ask(
            pool,
            EVENT_COUNTS_OVER_TIME,
            query,
            deadline_seconds,
            bucket_width=query.interval,
            tz=str(query.tz),
        )
        return JSONResponse(over_time(query, rows))

    return [
        Route("/analytics/event-counts", event_counts),
        Route("/analytics/event-counts-by-type", event_counts_by_type),
        Route("/analytics/event-counts-over-time", event_counts_over_time),
        *breakdown_routes(pool, deadline_seconds=deadline_seconds),
    ]


def over_time(query: OverTimeQuery, rows: list[tuple[Any, ...]]) -> dict[str, Any]:
    """Return the columns of a chart: the buckets' starts, and a count for each by type."""
    starts = rows[0][1] if rows else []
    counts = {event_type: series for event_type, _, series in rows}
    types = EVENT_TYPES if query.event_type is None else (query.event_type,)
    return {
        "interval": query.interval,
        "tz": str(query.tz),
        "buckets": [bucket_label(start, query.tz) for start in starts],
        "series": {event_type: counts.get(event_type, []) for event_type in types},
    }


def bucket_label(seconds: int, zone: tzinfo) -> str:
    """Return seconds since 1970 as RFC 3339 in a zone; before the year 1, its first instant.

    Where the offset has seconds, as that of local mean time had, RFC 3339 can say it in UTC only.
    """
    try:
        start = datetime.fromtimestamp(seconds, zone)
        if (start.utcoffset() or NOTHING) % MINUTE:
            start = start.astimezone(UTC)
    except (ValueError, OverflowError):
        start = FIRST_INSTANT
    return start.isoformat().replace("+00:00", "Z")
