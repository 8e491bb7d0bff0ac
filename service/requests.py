"""What holds for every request: an id, a line in the log, and an answer whatever happens."""

import re
import secrets
import time
from itertools import takewhile

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.analytics.parameters import OverTimeQuery
from service.events import FIELD_NAMES
from service.problems import Problem, ProblemKind

log = structlog.get_logger()

REQUEST_ID = "X-Request-ID"
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
_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Requests:
    """Middleware around the whole application: an id, and a line in the log.

    A successful POST /events is not logged unless asked for: the writer logs a line for each flush.
    """

    def __init__(self, app: ASGIApp, *, log_ingest_requests: bool) -> None:
        self._app = app
        self._log_ingest_requests = log_ingest_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0
        request_id = scope["request_id"] = _request_id(scope)

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id.encode()))
            await send(message)

        await self._app(scope, receive, send_with_id)
        self._log(scope, status, time.perf_counter() - started)

    def _log(self, scope: Scope, status: int, seconds: float) -> None:
        if status == 202 and not self._log_ingest_requests:
            return
        problem: Problem | None = scope.get("problem")
        path = scope.get("raw_path", scope["path"].encode()).decode("ascii", "backslashreplace")
        log.log(
            40 if status >= 500 else 20,
            "request",
            method=scope["method"],
            path=path,
            status=status,
            milliseconds=round(seconds * 1000, 2),
            request_id=scope["request_id"],
            **({} if problem is None else {"problem": problem.kind.slug}),
            **({} if problem is None or not problem.errors else {"errors": _errors(problem)}),
        )


class Failures:
    """Middleware around the routes: what they fail to answer is answered, as any other request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            if any(name == b"upgrade" for name, _ in scope["headers"]):
                # The parser takes such a request to end with its head, and its body for the next.
                await _NO_UPGRADE.response(scope["request_id"])(scope, receive, send_and_note)
            else:
                await self._app(scope, receive, send_and_note)
        except Exception:
            log.exception("request failed", request_id=scope["request_id"])
            if begun:
                raise  # All that is left is to cut it short.
            problem = Problem(ProblemKind.DEFECT, "The fault is ours, and has been logged.")
            await problem.response(scope["request_id"])(scope, receive, send)


def _errors(problem: Problem) -> list[str]:
    """Return what was wrong, without the names that a sender chose: they are its data."""
    return [f"{_own_part(error['field'])}: {error['message']}" for error in problem.errors]


def _own_part(field: str) -> str:
    return ".".join(takewhile(_NAMES.__contains__, field.split("."))) or "?"


def _request_id(scope: Scope) -> str:
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return given.decode() if _GIVEN_ID.fullmatch(given) else secrets.token_hex(8)


async def answer_problem(request: Request, problem: Problem) -> Response:
    """Exception handler: answer a Problem as problem+json."""
    request.scope["problem"] = problem
    return problem.response(request.scope.get("request_id"))


async def answer_http_exception(request: Request, error: HTTPException) -> Response:
    """Exception handler: answer what the router raises (404, 405) as problem+json."""
    kind = ProblemKind.of_status(error.status_code)
    path = request.url.path
    headers = dict(error.headers or {})
    if kind is ProblemKind.METHOD_NOT_ALLOWED and (methods := _methods(request)):
        headers["Allow"] = ", ".join(sorted(methods))
    problem = Problem(kind, f"{request.method} {path} is not served.", headers=headers)
    return await answer_problem(request, problem)


def _methods(request: Request) -> set[str]:
    # A path may have several routes, of which the router names the first.
    matching = [
        route
        for route in request.app.routes
        if isinstance(route, Route) and route.path_regex.match(request.scope["path"])
    ]
    return {
        method
        for route in matching
        if route.path == matching[0].path
        for method in route.methods or ()
    }
