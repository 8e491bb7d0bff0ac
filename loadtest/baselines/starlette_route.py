"""A ceiling: validate and answer in an endpoint of Starlette. Nothing is stored."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loadtest.baselines.rows import answer_of
from service.events import InvalidEventError, parse_event


async def post_event(request: Request) -> Response:
    """Answer an event."""
    try:
        event = parse_event(await request.body())
    except InvalidEventError as error:
        return JSONResponse(error.errors, status_code=422)
    return JSONResponse(answer_of(event), status_code=202)


app = Starlette(routes=[Route("/events", post_event, methods=["POST"])])
