"""What a connection is answered that sends no request."""

from collections.abc import Iterable

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.headers import new_request_id, protect
from service.metrics import REQUESTS
from service.problems import Problem

log = structlog.get_logger()


def log_refused(problem: Problem) -> str:
    """Log what is refused, whether or not it can still be answered; return the id of the line."""
    request_id = new_request_id()
    log.info(
        "connection refused",
        status=problem.kind.status,
        problem=problem.kind.slug,
        reason=problem.detail,
        request_id=request_id,
    )
    return request_id


def refusal(problem: Problem, request_id: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the whole answer, after which the connection ends; it is counted."""
    response = problem.response(request_id)
    REQUESTS.labels("none", "other", response.status_code).inc()
    lines = [
        *headers,
        *response.raw_headers,
        (b"x-request-id", request_id.encode()),
        (b"connection", b"close"),
    ]
    protect(lines)
    head = b"".join(b"%b: %b\r\n" % line for line in lines)
    return STATUS_LINE[response.status_code] + head + b"\r\n" + bytes(response.body)
