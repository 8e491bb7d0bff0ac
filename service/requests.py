"""What holds for every request: an id, a line in the log, and an answer whatever happens."""

import asyncio
import re
import time
from collections.abc import Awaitable
from itertools import takewhile
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.analytics.parameters import OverTimeQuery
from service.events import FIELD_NAMES
from service.headers import Headers, announced_bytes, header, new_request_id, protect
from service.measured import Measured
from service.problems import Problem, ProblemKind

log = structlog.get_logger()

REQUEST_ID = "X-Request-ID"
DROPPED_BYTES = 1024 * 1024
"""A body of which no more than this is announced is read and dropped after an early answer: a
client that is cut off while it sends may not see the answer. Others are cut off."""
_NAMES = (
    FIELD_NAMES
    | OverTimeQuery.model_fields.keys()
    | {
        "body",
        "cursor",
        "format",
        "limit",
    }
)
_NO_UPGRADE = Problem(
    ProblemKind.MALFORMED_REQUEST,
    "There is no protocol to upgrade to: send the request without the header Upgrade.",
    headers={"Connection": "close"},
)
_STOPPING = Problem(
    ProblemKind.STOPPING,
    "The request was not done in time. Send it again.",
    headers={"Connection": "close"},
)
_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_CLOSE = (b"connection", b"close")
_LEVELS = dict.fromkeys(("/metrics", "/health/live", "/health/ready"), 10)
"""Scrapes and health checks come all the time: DEBUG. Else INFO, and ERROR from 500 on."""


class Requests:
    """Middleware around the whole application: an id, a line in the log, and metrics.

    The scope has the `request_id`, and the `status` once the answer has begun.
    A successful POST /events is not logged unless asked for: the writer logs a line for each flush.
    """

    def __init__(self, app: ASGIApp, *, measured: Measured, log_ingest_requests: bool) -> None:
        self._app = app
        self._measured = measured
        self._log_ingest_requests = log_ingest_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = scope["request_id"] = _request_id(scope)

        # No coroutine of its own: two for each answer are 2 % of what an event takes.
        def send_with_id(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                status = scope["status"] = message["status"]
                message["headers"].append((b"x-request-id", request_id.encode()))
                # At ingest's rate each header counts, and its 202 is JSON for a script. What a 304
                # says takes the place of what the page said itself.
                if status not in (202, 304):
                    protect(message["headers"])
                if "body_is_read" not in scope and _is_left_unread(scope):
                    _close(message["headers"])
            return send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            status = scope.get("status", 0)
            self._measured.note(scope, status, seconds)
        if status != 202 or self._log_ingest_requests:
            self._log(scope, status, seconds)

    def _log(self, scope: Scope, status: int, seconds: float) -> None:
        path = scope.get("raw_path", scope["path"].encode()).decode("ascii", "backslashreplace")
        log.log(
            40 if status >= 500 else _LEVELS.get(scope["path"], 20),
            "request",
            method=scope["method"],
            path=path,
            status=status,
            milliseconds=round(seconds * 1000, 2),
            request_id=scope["request_id"],
            **scope.get("problem", {}),
        )


class Failures:
    """Middleware around the routes: what they fail to answer is answered, as any other request.

    So is what a stop cancels before its answer has begun: 503, with nothing stored.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            if header(scope, b"upgrade") is not None:
                # The parser takes such a request to end with its head, and its body for the next.
                await _answer(_NO_UPGRADE, scope, receive, send)
            else:
                await self._app(scope, receive, send)
        except Exception:
            log.exception("request failed", request_id=scope["request_id"])
            if "status" in scope:
                raise  # All that is left is to cut it short.
            problem = Problem(ProblemKind.DEFECT, "The fault is ours, and has been logged.")
            await _answer(problem, scope, receive, send)
        except asyncio.CancelledError:
            # So uvicorn ends what a stop does not wait for. What has begun is cut short.
            if "status" not in scope:
                await _answer(_STOPPING, scope, receive, send)


class Direct:
    """Middleware innermost of all: leads the requests of one route past the router.

    What the router does for a request takes longer than most of what POST /events does.
    """

    def __init__(self, app: ASGIApp, *, route: Route) -> None:
        self._app = app
        self._route = route
        self._path = route.path
        self._methods = route.methods or ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope.get("path") != self._path or scope.get("method") not in self._methods:
            await self._app(scope, receive, send)
            return
        scope["endpoint"] = self._route.endpoint
        try:
            await self._route.app(scope, receive, send)
        except Problem as problem:
            await _answer(problem, scope, receive, send)


def _is_left_unread(scope: Scope) -> bool:
    """Whether more of the body may come than is read and dropped."""
    return header(scope, b"transfer-encoding") is not None or announced_bytes(scope) > DROPPED_BYTES


def _close(headers: Headers) -> None:
    if _CLOSE not in headers:
        headers.append(_CLOSE)


def _logged(problem: Problem) -> dict[str, Any]:
    """Return what the log says of a problem, without the names that a sender chose: its data."""
    errors = [f"{_own_part(error['field'])}: {error['message']}" for error in problem.errors]
    return {"problem": problem.kind.slug} | ({"errors": errors} if errors else {})


def _own_part(field: str) -> str:
    return ".".join(takewhile(_NAMES.__contains__, field.split("."))) or "?"


def _request_id(scope: Scope) -> str:
    given = header(scope, b"x-request-id")
    if given is not None and _GIVEN_ID.fullmatch(given):
        return given.decode()
    return new_request_id()


async def _answer(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    response = await answer_problem(Request(scope), problem)
    await response(scope, receive, send)


async def answer_problem(request: Request, problem: Problem) -> Response:
    """Exception handler: answer a Problem as problem+json."""
    # Not the exception: its traceback leads to the body, and back to the scope, which is a cycle.
    request.scope["problem"] = _logged(problem)
    return problem.response(request.scope.get("request_id"))


async def answer_http_exception(request: Request, error: HTTPException) -> Response:
    """Exception handler: answer what the router raises (404, 405) as problem+json."""
    kind = ProblemKind.of_status(error.status_code)
    path = request.url.path
    headers = dict(error.headers or {})
    if kind is ProblemKind.METHOD_NOT_ALLOWED and (methods := _methods(request)):
        headers["Allow"] = ", ".join(sorted(methods))
    detail = f"{request.method} {path} is not served."
    without_slash = path.removesuffix("/")
    if kind is ProblemKind.NOT_FOUND and path != without_slash and _routes(request, without_slash):
        detail += f" {without_slash} is, without the slash."
    problem = Problem(kind, detail, headers=headers)
    return await answer_problem(request, problem)


def _methods(request: Request) -> set[str]:
    # A path may have several routes, of which the router names the first.
    matching = _routes(request, request.scope["path"])
    return {
        method
        for route in matching
        if route.path == matching[0].path
        for method in route.methods or ()
    }


def _routes(request: Request, path: str) -> list[Route]:
    return [
        route
        for route in request.app.routes
        if isinstance(route, Route) and route.path_regex.match(path)
    ]
