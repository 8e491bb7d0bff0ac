"""Middleware outermost of all, where traces are sent: each request is a span."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.headers import header
from service.measured import method_of, route_of
from service.tracing import request_span


class Traced:
    """A request's span is within that of its sender, if it names one (W3C's traceparent)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        parent = (header(scope, b"traceparent") or b"").decode("latin-1")
        with request_span(method_of(scope), parent) as span:

            async def send_and_note(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.answered(message["status"])
                await send(message)

            try:
                await self._app(scope, receive, send_and_note)
            finally:
                span.served_by(route_of(scope), scope["request_id"])
