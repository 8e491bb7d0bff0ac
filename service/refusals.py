"""What a connection is answered that sends no request."""

from collections.abc import Iterable

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.headers import new_request_id, protect
from service.metrics import REQUESTS
from service.problems import Problem

log = structlog.get_logger()


def refusal(problem: Problem, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the whole answer, after which the connection ends; it is counted, and logged."""
    request_id = new_request_id()
    response = problem.response(request_id)
    REQUESTS.labels("none", "other", response.status_code).inc()
    log.info(
        "connection refused",
        status=response.status_code,
        problem=problem.kind.slug,
        reason=problem.detail,
        request_id=request_id,
    )
    lines = [
        *headers,
        *response.raw_headers,
        (b"x-request-id", request_id.encode()),
        (b"connection", b"close"),
    ]
    protect(lines)
    head = b"".join(b"%b: %b\r\n" % line for line in lines)
    return STATUS_LINE[response.status_code] + head + b"\r\n" + bytes(response.body)
