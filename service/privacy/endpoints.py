"""GET /users/export and DELETE /users: all that is kept of a user."""

import asyncio

import structlog
from psycopg.errors import InsufficientPrivilege
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.analytics.parameters import parse_query
from service.database.connections import load_query, within
from service.outages import away_is_503
from service.privacy.erasure import Erasure
from service.privacy.parameters import UserQuery, nothing_done
from service.problems import Problem, ProblemKind
from service.reading.download import Download
from service.reading.exports import Exports
from service.settings import Settings

log = structlog.get_logger()

EXPORT_USER = load_query("export_user")
ROLE = "grant tallymark_privacy to the role of DATABASE_URL (docs/privacy.md)"


def routes(settings: Settings, exports: Exports) -> list[Route]:
    """Return the routes, where they are allowed."""
    alone = asyncio.Lock()

    async def export_user(request: Request) -> Response:
        with nothing_done():
            query = parse_query(UserQuery, request.scope["query_string"])
        return Download(
            exports.copied(EXPORT_USER, query.values()),
            deadline_seconds=exports.deadline_seconds,
            name="user.ndjson",
            media_type="application/x-ndjson",
        )

    async def erase_user(request: Request) -> Response:
        with nothing_done():
            query = parse_query(UserQuery, request.scope["query_string"])
        if alone.locked():
            raise _unfinished("Another erasure is under way.")
        erasure = Erasure(settings.database_url, settings.spool_directory, query)
        async with alone:
            await _run(erasure, exports.deadline_seconds)
        log.info("user erased", **erasure.erased.numbers())
        return JSONResponse(erasure.erased.numbers())

    if not settings.users_api:
        return []
    return [
        Route("/users", erase_user, methods=["DELETE"]),
        Route("/users/export", export_user),
    ]


async def _run(erasure: Erasure, seconds: float) -> None:
    try:
        with away_is_503(ProblemKind.ERASURE_UNFINISHED):
            await within(seconds, erasure.run())
    except InsufficientPrivilege as error:
        log.error("user not erased", error=str(error), remedy=ROLE)
        raise Problem(ProblemKind.DEFECT, "The fault is ours, and has been logged.") from None
    except Problem as problem:
        raise _unfinished(f"{erasure.erased.events} events were erased so far.") from problem


def _unfinished(detail: str) -> Problem:
    return Problem(ProblemKind.ERASURE_UNFINISHED, f"{detail} Ask again: it goes on where it was.")
