"""Every error that a client can be answered: status, title, and when to try again (RFC 9457)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from itertools import islice
from typing import Any, TypedDict

from starlette.responses import Response


class FieldError(TypedDict):
    """One thing that is wrong with a request: where, and what."""

    field: str
    message: str


NOTHING_STORED = "Nothing was stored."

MAX_ERRORS = 20
MAX_FIELD_CHARACTERS = 200


def first_errors(errors: Iterable[FieldError]) -> list[FieldError]:
    """Return the first of the errors, fields cut short: an answer, and its log line, stay small."""
    return [
        FieldError(field=error["field"][:MAX_FIELD_CHARACTERS], message=error["message"])
        for error in islice(errors, MAX_ERRORS)
    ]


class ProblemKind(Enum):
    """The closed set of errors: slug, status, title, seconds after which to try again."""

    INVALID_EVENT = ("invalid-event", 400, "The event is not valid", None)
    INVALID_BATCH = ("invalid-batch", 400, "The batch holds no valid event", None)
    INVALID_QUERY = ("invalid-query", 400, "The query is not valid", None)
    REFUSED_EVENT = ("refused-event", 400, "The database refused the event", None)
    MALFORMED_REQUEST = ("malformed-request", 400, "The request is not valid", None)
    KEY_REQUIRED = ("key-required", 401, "A valid key is needed", None)
    KEY_NOT_FOR_THIS = ("key-not-for-this", 403, "The key is not for this", None)
    ORIGIN_NOT_ALLOWED = ("origin-not-allowed", 403, "The origin is not allowed", None)
    NOT_FOUND = ("not-found", 404, "There is nothing here", None)
    METHOD_NOT_ALLOWED = ("method-not-allowed", 405, "The method is not allowed here", None)
    HEAD_TIMEOUT = ("head-timeout", 408, "The request's head did not arrive in time", None)
    BODY_TIMEOUT = ("body-timeout", 408, "The body did not arrive in time", None)
    BODY_TOO_LARGE = ("body-too-large", 413, "The body is too large", None)
    NOT_JSON = ("not-json", 415, "The body is not JSON", None)
    UNKNOWN_CODING = ("unknown-coding", 415, "The body's coding is not known", None)
    TOO_MANY_REQUESTS = ("too-many-requests", 429, "Requests come too fast", 1)
    TOO_MANY_LATE_EVENTS = ("too-many-late-events", 429, "Too many old events are sent", 1)
    HEAD_TOO_LARGE = ("head-too-large", 431, "The request's head is too large", None)
    DEFECT = ("defect", 500, "The service failed", None)
    QUEUE_FULL = ("queue-full", 503, "Too many events are waiting to be stored", 1)
    NOT_STORED = ("not-stored", 503, "The database did not store the event in time", 2)
    COUNTS_UNAVAILABLE = ("counts-unavailable", 503, "The database did not answer in time", 2)
    EVENTS_UNAVAILABLE = ("events-unavailable", 503, "The database did not answer in time", 2)
    EXPORTS_BUSY = ("exports-busy", 503, "As many exports as may be are under way", 10)
    ERASURE_UNFINISHED = ("erasure-unfinished", 503, "The erasure is not finished", 2)
    KEYS_UNKNOWN = ("keys-unknown", 503, "The database did not say which keys there are", 2)
    NOT_READY = ("not-ready", 503, "The service can't keep events now", 2)
    STOPPING = ("stopping", 503, "The service is being stopped", 2)

    def __init__(self, slug: str, status: int, title: str, retry_after: int | None) -> None:
        self.slug = slug
        self.status = status
        self.title = title
        self.retry_after = retry_after

    @classmethod
    def of_status(cls, status: int) -> "ProblemKind":
        """Return the kind that stands for a status which the framework raised."""
        return next(
            (kind for kind in cls if kind.status == status),
            cls.MALFORMED_REQUEST if status < HTTPStatus.INTERNAL_SERVER_ERROR else cls.DEFECT,
        )


@dataclass
class Problem(Exception):
    """An error to be answered as problem+json; `more` adds members to the document."""

    kind: ProblemKind
    detail: str
    errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def document(self, request_id: str | None = None) -> dict[str, Any]:
        """Return the JSON document of the answer."""
        document: dict[str, Any] = {
            "type": f"urn:tallymark:problem:{self.kind.slug}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = list(self.errors)
        if request_id is not None:
            document["request_id"] = request_id
        return document | dict(self.more)

    def response(self, request_id: str | None = None) -> Response:
        """Return the whole answer."""
        headers = dict(self.headers)
        if self.kind.retry_after is not None:
            headers.setdefault("Retry-After", str(self.kind.retry_after))
        return Response(
            json.dumps(self.document(request_id), ensure_ascii=False),
            status_code=self.kind.status,
            headers=headers,
            media_type="application/problem+json",
        )
