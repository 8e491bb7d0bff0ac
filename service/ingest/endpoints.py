"""POST /events: read, validate, hand over to the writer, answer."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from service.events import MAX_EVENT_BYTES, MICROSECONDS, Event, InvalidEventError, parse_event
from service.ingest.writer import Writer
from service.problems import FieldError, Problem, ProblemKind, first_errors

BODY_SECONDS = 10.0
"""How long a body may take to arrive."""

DROPPED_BYTES = 1024 * 1024
"""A body that is too large, but announces no more than this, is read and dropped after the answer:
a client that is cut off while it sends may not see the answer. Others are cut off."""

CLOSE = {"Connection": "close"}

# navigator.sendBeacon sends text as text/plain; a request without a type is taken at its word.
JSON_TYPES = frozenset({"application/json", "text/plain", ""})


def routes(writer: Writer) -> list[Route]:
    """Return the routes of ingest."""

    async def post_event(request: Request) -> Response:
        require_json(request.headers)
        if request.url.query:
            raise Problem(
                ProblemKind.INVALID_QUERY,
                "The event was not stored.",
                first_errors(
                    FieldError(field=name, message="Is not a parameter of this endpoint")
                    for name in request.query_params
                ),
            )
        body = await read_body(request, MAX_EVENT_BYTES)
        try:
            event = parse_event(body)
        except InvalidEventError as error:
            clock = {} if error.clock is None else {"server_time": iso_time(error.clock * 1000)}
            raise Problem(
                ProblemKind.INVALID_EVENT, "The event was not stored.", error.errors, more=clock
            ) from None
        await writer.keep(event)
        return Response(accepted(event), status_code=202, media_type="application/json")

    return [Route("/events", post_event, methods=["POST"])]


def accepted(event: Event) -> bytes:
    """Return the body of a 202."""
    return b'{"event_id":"%s","timestamp":"%s"}' % (
        str(UUID(bytes=event.event_id)).encode(),
        iso_time(event.timestamp).encode(),
    )


def iso_time(microseconds: int) -> str:
    """Return microseconds since 1970 as RFC 3339 in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(microseconds / MICROSECONDS, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def require_json(headers: Headers) -> None:
    """Raise Problem unless the headers speak of JSON without a content coding."""
    media_type = headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type not in JSON_TYPES:
        raise Problem(
            ProblemKind.NOT_JSON,
            "Send the event as application/json.",
            headers={"Accept-Post": "application/json"},
        )
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Problem(
            ProblemKind.NOT_JSON,
            "Send the event without a content coding.",
            headers={"Accept-Encoding": "identity"},
        )


def _announced_bytes(headers: Headers) -> int:
    # httptools has seen to it that these are digits; leading zeros may be thousands.
    return int(headers.get("content-length", "").lstrip("0") or 0)


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body. Raises Problem where it is larger than `limit` bytes, or too slow."""
    announced = _announced_bytes(request.headers)
    if announced > limit:
        raise _too_large(limit, {} if announced <= DROPPED_BYTES else CLOSE)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise _too_large(limit, CLOSE)
    except TimeoutError:
        raise Problem(
            ProblemKind.BODY_TIMEOUT, "The body did not arrive in time.", headers=CLOSE
        ) from None
    except ClientDisconnect:
        raise Problem(ProblemKind.MALFORMED_REQUEST, "The body was cut short.") from None
    return bytes(body)


def _too_large(limit: int, headers: dict[str, str]) -> Problem:
    detail = f"An event may be at most {limit} bytes."
    return Problem(ProblemKind.BODY_TOO_LARGE, detail, headers=headers)
