"""Starlette and psycopg's pool: an INSERT a request."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loadtest.baselines import POOL_CONNECTIONS
from service.events import MICROSECONDS, parse_event

INSERT = """
insert into events (timestamp, event_id, site_id, user_id, event_type, payload)
values (%s, %s, %s, %s, %s, %s)
on conflict do nothing
"""

pool = AsyncConnectionPool(
    os.environ.get("DATABASE_URL", ""),
    min_size=POOL_CONNECTIONS,
    max_size=POOL_CONNECTIONS,
    kwargs={"autocommit": True},
    open=False,
)


async def post_event(request: Request) -> Response:
    """Store an event, then answer."""
    event = parse_event(await request.body())
    event_id = UUID(bytes=event.event_id)
    timestamp = datetime.fromtimestamp(event.timestamp / MICROSECONDS, UTC)
    row = (
        *(timestamp, event_id, event.site_id),
        *(event.user_id.decode(), event.event_type, event.payload.decode()),
    )
    async with pool.connection() as connection:
        await connection.execute(INSERT, row)
    answer = {"event_id": str(event_id), "timestamp": timestamp.isoformat()}
    return JSONResponse(answer, status_code=202)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Keep the pool open while the application runs."""
    async with pool:
        await pool.wait()
        yield


app = Starlette(routes=[Route("/events", post_event, methods=["POST"])], lifespan=lifespan)
