"""What the tests of the HTTP contract share."""

import json
import socket
from typing import Any

import httpx
import psycopg


def event(user_id: str = "user-1", **payload: Any) -> dict[str, Any]:
    """Return a valid view event."""
    return {"user_id": user_id, "event_type": "view", "payload": {"url": "/"} | payload}


def event_bytes(more: bytes = b"") -> bytes:
    """Return a valid view event with more members, as they stand, in its payload."""
    comma = b"," if more else b""
    head = b'{"user_id":"user-1","event_type":"view","payload":{"url":"/"'
    return head + comma + more + b"}}"


def fields(answer: httpx.Response) -> set[str]:
    """Return the fields that a problem names."""
    return {error["field"] for error in answer.json()["errors"]}


def assert_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Check that an answer is a whole problem document, and return it."""
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["type"].startswith("urn:tallymark:problem:")
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    return problem


def stored(connection: psycopg.Connection[Any], event_id: str) -> tuple[str, str, Any]:
    """Return the user_id, event_type and payload of a stored event, numbers exactly as stored."""
    query = "select user_id, event_type::text, payload::text from events where event_id = %s"
    row = connection.execute(query, [event_id]).fetchone()
    assert row is not None, "answered 202, and not stored"
    return row[0], row[1], json.loads(row[2])


def events_in(connection: psycopg.Connection[Any]) -> int:
    """Return how many events are stored."""
    row = connection.execute("select count(*) from events").fetchone()
    assert row is not None
    return int(row[0])


def as_doubles(value: Any) -> Any:
    """Return a JSON value with the numbers that fit as doubles: 1, 1.0 and 1e0 are the same."""
    match value:
        case bool():
            return value
        case int() | float():
            try:
                return float(value)
            except OverflowError:
                return value
        case list():
            return [as_doubles(member) for member in value]
        case dict():
            return {key: as_doubles(member) for key, member in value.items()}
        case _:
            return value


def exchange(base_url: httpx.URL, *parts: bytes, until: bytes = b"") -> bytes:
    """Send bytes as they are; return what comes back until the peer closes or `until` is seen."""
    with socket.create_connection((base_url.host, base_url.port or 80), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while chunk := _received(connection):
            answer += chunk
            if until and until in answer:
                break
        return answer


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""


def status_of(answer: bytes) -> int:
    """Return the status of the first answer that is not 100 Continue."""
    answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    return int(answer.split(b" ", 2)[1]) if answer else 0
