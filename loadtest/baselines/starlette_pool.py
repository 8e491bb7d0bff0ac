"""Starlette and psycopg's pool: an INSERT a request."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loadtest.baselines import POOL_CONNECTIONS
from loadtest.baselines.rows import INSERT, answer_of, row_of
from service.events import InvalidEventError, parse_event

pool = AsyncConnectionPool(
    os.environ.get("DATABASE_URL", ""),
    min_size=POOL_CONNECTIONS,
    max_size=POOL_CONNECTIONS,
    kwargs={"autocommit": True},
    open=False,
)


async def post_event(request: Request) -> Response:
    """Store an event, then answer."""
    try:
        event = parse_event(await request.body())
    except InvalidEventError as error:
        return JSONResponse(error.errors, status_code=422)
    async with pool.connection() as connection:
        await connection.execute(INSERT, row_of(event))
    return JSONResponse(answer_of(event), status_code=202)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Keep the pool open while the application runs."""
    async with pool:
        await pool.wait()
        yield


app = Starlette(routes=[Route("/events", post_event, methods=["POST"])], lifespan=lifespan)
