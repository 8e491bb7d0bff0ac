"""A ceiling: validate and answer in an endpoint of Starlette. Nothing is stored."""

from uuid import UUID

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.events import parse_event
from service.ingest.answers import iso_time


async def post_event(request: Request) -> Response:
    """Answer an event."""
    event = parse_event(await request.body())
    answer = {
        "event_id": str(UUID(bytes=event.event_id)),
        "timestamp": iso_time(event.timestamp),
    }
    return JSONResponse(answer, status_code=202)


app = Starlette(routes=[Route("/events", post_event, methods=["POST"])])
