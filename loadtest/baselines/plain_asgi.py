"""A ceiling: validate and answer, in the fewest steps that ASGI allows. Nothing is stored."""

from starlette.types import Receive, Scope, Send

from service.events import InvalidEventError, parse_event
from service.ingest.answers import accepted


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request."""
    if scope["type"] != "http":
        return
    message = await receive()
    body: bytes = message["body"]
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    try:
        status, answer = 202, accepted(parse_event(body))
    except InvalidEventError as error:
        status, answer = 422, str(error).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(answer)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
