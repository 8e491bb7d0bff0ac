"""GET /events and below: each parses its query, reads, and answers what the database made."""

import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.analytics.parameters import parse_query
from service.database.connections import within
from service.outages import away_is_503
from service.problems import Problem, ProblemKind
from service.reading.download import Download
from service.reading.exports import Exports
from service.reading.pages import Page, read_event, read_page
from service.reading.parameters import (
    ExportQuery,
    PageQuery,
    SiteQuery,
    nothing_read,
    parse_event_id,
)

MEDIA_TYPES = {"ndjson": "application/x-ndjson", "csv": "text/csv; charset=utf-8; header=present"}

Result = TypeVar("Result")


def routes(
    pool: AsyncConnectionPool[AsyncConnection], exports: Exports, *, deadline_seconds: float
) -> list[Route]:
    """Return the routes of reading."""

    async def read(work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
        async def by_connection() -> Result:
            async with pool.connection() as connection:
                return await work(connection)

        with away_is_503(ProblemKind.EVENTS_UNAVAILABLE):
            return await within(deadline_seconds, by_connection())

    async def list_events(request: Request) -> Response:
        with nothing_read():
            query = parse_query(PageQuery, request.scope["query_string"])
            query.half_open()
        page = await read(lambda connection: read_page(connection, query))
        return Response(_document(page), media_type="application/json")

    async def get_event(request: Request) -> Response:
        with nothing_read():
            event_id = parse_event_id(request.path_params["event_id"])
            site = parse_query(SiteQuery, request.scope["query_string"]).site
        event = await read(lambda connection: read_event(connection, event_id, site))
        if event is None:
            raise Problem(ProblemKind.NOT_FOUND, "No event of this site has this id.")
        return Response(event, media_type="application/json")

    async def export_events(request: Request) -> Response:
        with nothing_read():
            query = parse_query(ExportQuery, request.scope["query_string"])
            query.half_open()
        return Download(
            exports.blocks(query),
            deadline_seconds=exports.deadline_seconds,
            name=f"events.{query.format}",
            media_type=MEDIA_TYPES[query.format],
        )

    return [
        Route("/events", list_events),
        Route("/events/export", export_events),
        Route("/events/{event_id}", get_event),
    ]


def _document(page: Page) -> str:
    # The events are JSON already: their numbers stay as they are stored.
    following = None if page.end is None else page.end.cursor()
    return f'{{"events":[{",".join(page.events)}],"next":{json.dumps(following)}}}'
