"""Requests that must be answered 400, and the field that each answer must name."""

import json
from typing import Any, NamedTuple

COUNTS = "/analytics/event-counts"
BY_TYPE = "/analytics/event-counts-by-type"
VIEW = {"url": "https://shop.example/"}


class MalformedRequest(NamedTuple):
    """A request, and the field that is wrong with it."""

    path: str
    field: str
    query: str = ""
    body: bytes | None = None

    @property
    def method(self) -> str:
        """The request's method."""
        return "GET" if self.body is None else "POST"

    @property
    def name(self) -> str:
        """What statistics are under."""
        return f"{self.path} (malformed)"


def _event(field: str, **members: Any) -> MalformedRequest:
    event = {"user_id": "user-42", "event_type": "view", "payload": VIEW} | members
    present = {name: value for name, value in event.items() if value is not None}
    return MalformedRequest("/events", field, body=json.dumps(present).encode())


def _location(field: str, **members: Any) -> MalformedRequest:
    place = {"latitude": 52.52, "longitude": 13.405} | members
    return _event(field, event_type="location", payload=place)


MALFORMED = (
    MalformedRequest("/events", "body", body=b'{"user_id": "user-42", "event_ty'),
    MalformedRequest("/events", "body", body=b"[]"),
    _event("user_id", user_id=None),
    _event("user_id", user_id=" "),
    _event("user_id", user_id="x" * 257),
    _event("user_id", user_id=42),
    _event("event_type", event_type=None),
    _event("event_type", event_type="purchase"),
    _event("payload", payload=None),
    _event("payload.url", payload={"title": "No URL"}),
    _event("payload.url", payload={"url": ""}),
    _event("payload.url", payload={"url": "https://shop.example/\0"}),
    _event("colour", colour="green"),
    _event("event_id", event_id="0b9f1e0c-8a53-4c3f-9d27-0f6f5f0a3c11"),
    _event("event_id", event_id="01968929-c6a9-72d0-9b6b-4d7f0590b360"),
    _location("payload.latitude", latitude=90.5),
    _location("payload.longitude", longitude="13.4"),
    _location("payload.latitude", latitude=float("nan")),
    _location("payload.accuracy", accuracy=-1),
    MalformedRequest(COUNTS, "start_date", query="start_date=2025-02-30"),
    MalformedRequest(COUNTS, "end_date", query="end_date=yesterday"),
    MalformedRequest(COUNTS, "start_date", query="start_date=2025-05-29&end_date=2025-05-28"),
    MalformedRequest(COUNTS, "event_type", query="event_type=purchase"),
    MalformedRequest(COUNTS, "event", query="event=click"),
    MalformedRequest(COUNTS, "tz", query="tz=Mars/Olympus"),
    MalformedRequest(BY_TYPE, "event_type", query="event_type=click"),
    MalformedRequest(BY_TYPE, "end_date", query="end_date="),
    MalformedRequest(BY_TYPE, "site", query="site=1&site=2"),
)


def what_is_wrong(request: MalformedRequest, status: int, answer: bytes | None) -> str | None:
    """Return why an answer is not the one that a malformed request must get; None if it is."""
    if status != 400:
        return f"{request.field} is wrong, and the answer was {status} instead of 400"
    try:
        named = {error["field"] for error in json.loads(answer or b"")["errors"]}
    except (ValueError, KeyError, TypeError):
        return f"{request.field} is wrong, and the 400 names no fields"
    if request.field not in named:
        return f"{request.field} is wrong, and the 400 names {', '.join(sorted(named))}"
    return None
