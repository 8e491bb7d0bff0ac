"""Breakdowns: GET /analytics/top-pages, top-elements and active-users."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.analytics.parameters import RangeQuery, parse_query, whole_number
from service.analytics.questions import Pool, ask
from service.database.connections import load_query

TOP_PAGES = load_query("top_pages")
TOP_ELEMENTS = load_query("top_elements")
ACTIVE_USERS = load_query("active_users")
ACTIVE_USERS_OVER_TIME = load_query("active_users_over_time")


class TopQuery(RangeQuery):
    """A range of time at a site, and how many are wanted."""

    limit: Annotated[
        int,
        Field(ge=1, le=1000, description="How many at most", examples=[10]),
        BeforeValidator(whole_number),
    ] = 10


class ActiveUsersQuery(RangeQuery):
    """A range of time at a site, and whether each of its days is wanted, too."""

    interval: Annotated[
        Literal["day"] | None, Field(description="day: each day of tz, too, which costs more")
    ] = None


def breakdown_routes(pool: Pool, *, deadline_seconds: float) -> list[Route]:
    """Return the routes of breakdowns."""

    async def top(request: Request, statement: bytes, *names: str) -> list[dict[str, Any]]:
        query = parse_query(TopQuery, request.scope["query_string"])
        rows = await ask(pool, statement, query, deadline_seconds, limit=query.limit)
        return [dict(zip(names, row, strict=True)) for row in rows]

    async def top_pages(request: Request) -> Response:
        return JSONResponse({"pages": await top(request, TOP_PAGES, "path", "views")})

    async def top_elements(request: Request) -> Response:
        return JSONResponse({"elements": await top(request, TOP_ELEMENTS, "element", "clicks")})

    async def active_users(request: Request) -> Response:
        query = parse_query(ActiveUsersQuery, request.scope["query_string"])
        statement = ACTIVE_USERS if query.interval is None else ACTIVE_USERS_OVER_TIME
        *days, (_, total) = await ask(pool, statement, query, deadline_seconds, tz=str(query.tz))
        answer: dict[str, Any] = {"active_users": total}
        if query.interval is not None:
            answer["days"] = [{"date": str(day), "active_users": users} for day, users in days]
        return JSONResponse(answer)

    return [
        Route("/analytics/top-pages", top_pages),
        Route("/analytics/top-elements", top_elements),
        Route("/analytics/active-users", active_users),
    ]
