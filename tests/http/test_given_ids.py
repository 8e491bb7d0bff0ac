"""An event_id of the sender's own: sending the event again stores no second one."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from service.events import AHEAD_WINDOW_MILLISECONDS, LATE_WINDOW_MILLISECONDS, new_event_id

MARGIN_MILLISECONDS = 60_000

pytestmark = pytest.mark.usefixtures("no_events")


def id_of(milliseconds_from_now: int = 0) -> str:
    """Return a UUIDv7 of a moment."""
    return str(UUID(bytes=new_event_id(time.time_ns() // 1_000_000 + milliseconds_from_now)))


def post(client: httpx.Client, event_id: str, url: str = "/") -> httpx.Response:
    """Post a view under an id."""
    payload = {"url": url}
    event = {"user_id": "u", "event_type": "view", "event_id": event_id, "payload": payload}
    return client.post("/events", json=event)


def rows(database: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    """Return id and URL of what is stored."""
    query = "select event_id::text, payload ->> 'url' from events order by timestamp"
    return database.execute(query).fetchall()


@pytest.mark.parametrize(
    "milliseconds",
    [
        0,
        MARGIN_MILLISECONDS - LATE_WINDOW_MILLISECONDS,
        AHEAD_WINDOW_MILLISECONDS - MARGIN_MILLISECONDS,
    ],
)
def test_an_event_is_stored_under_its_given_id_at_the_ids_time(
    service: httpx.Client, database: psycopg.Connection[Any], milliseconds: int
) -> None:
    event_id = id_of(milliseconds)
    answer = post(service, event_id)
    assert answer.status_code == 202
    assert answer.json()["event_id"] == event_id
    (row,) = database.execute("select event_id::text, timestamp from events").fetchall()
    assert row[0] == event_id
    assert round(row[1].timestamp() * 1000) == UUID(event_id).int >> 80


def test_an_event_sent_again_is_stored_once_and_answered_alike(
    service: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    event_id = id_of()
    with ThreadPoolExecutor(8) as senders:
        answers = list(senders.map(lambda _: post(service, event_id), range(40)))
    assert {answer.status_code for answer in answers} == {202}
    assert {answer.text for answer in answers} == {answers[0].text}
    assert rows(database) == [(event_id, "/")]


def test_the_id_of_an_answer_may_be_sent_again(
    service: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    event = {"user_id": "u", "event_type": "view", "payload": {"url": "/"}}
    first = service.post("/events", json=event).json()
    assert service.post("/events", json=event | {"event_id": first["event_id"]}).json() == first
    assert rows(database) == [(first["event_id"], "/")]


def test_of_two_contents_under_one_id_the_first_is_kept(
    service: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    event_id = id_of()
    assert post(service, event_id, "/first").status_code == 202
    assert post(service, event_id, "/second").status_code == 202
    assert rows(database) == [(event_id, "/first")]


@pytest.mark.parametrize(
    "milliseconds",
    [
        -LATE_WINDOW_MILLISECONDS - MARGIN_MILLISECONDS,
        AHEAD_WINDOW_MILLISECONDS + MARGIN_MILLISECONDS,
    ],
)
def test_an_id_outside_the_window_is_refused_with_our_time(
    service: httpx.Client, database: psycopg.Connection[Any], milliseconds: int
) -> None:
    answer = post(service, id_of(milliseconds))
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == ["event_id"]
    assert answer.json()["server_time"].endswith("Z")
    assert rows(database) == []


@pytest.mark.parametrize(
    "event_id",
    ["", "7", str(uuid4()), str(UUID(int=0)), "019ab697-e87b-7d57-072c-f4cea7318df9"],
)
def test_what_is_no_uuid_of_version_7_is_refused(service: httpx.Client, event_id: str) -> None:
    answer = post(service, event_id)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == ["event_id"]
    assert "server_time" not in answer.json()
