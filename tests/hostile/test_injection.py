"""Injection lists in every field and parameter: literal text is stored, and no table changes."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service.events import EVENT_TYPES, MAX_USER_ID_BYTES
from tests.hostile.test_every_answer import INSIDE, target_of
from tests.http.support import event, events_in, stored
from tests.http.test_documentation import operations
from tests.support.databases import Database

LISTS = [
    "'; drop table events; --",
    "' or '1'='1",
    "1; delete from events",
    "') returning (select current_user) --",
    "' union select version(), null, null --",
    "\\'; truncate events; --",
    "$$; drop schema public cascade; $$",
    "$1",
    "%s %(site)s %d %n",
    "{0} {user_id!r} {{}}",
    "a\tb\\tc\\N\\.",
    "\"; copy events to program 'id'; --",
    "${jndi:ldap://127.0.0.1/a}",
    "$(id) `id` ; id | id && id",
    "../../../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "{{7*7}} <%= 7*7 %> #{7*7}",
    "=cmd|' /C calc'!A0",
    "*)(uid=*))(|(uid=*",
    "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
    '{"$gt": ""}',
    "a\r\nSet-Cookie: a=b",
    "\u202ertl\u2028\u2029\ufeff\U0001f4a9",
    "null",
    "NaN",
    "true",
    "-1",
    "1e309",
    "__proto__",
    "x" * 256,
]
PARAMETERS = [
    (path, parameter["name"], parameter["in"])
    for path, method, operation in operations()
    if method == "get"
    for parameter in operation.get("parameters", [])
]
SCHEMA = """
select table_name, column_name, data_type from information_schema.columns
where table_schema = 'public' order by 1, 2
"""


@pytest.fixture(autouse=True)
def _unchanged(database: Database, no_events: None) -> Iterator[None]:
    """Let each test leave the tables as they were, and their events."""
    before = database.execute(SCHEMA).fetchall()
    yield
    assert database.execute(SCHEMA).fetchall() == before


def documents(text: str) -> Iterator[dict[str, Any]]:
    """Yield events with a text in each of the fields that take one, and as a key."""
    if len(text.encode()) <= MAX_USER_ID_BYTES:
        yield event(text)
    yield event() | {"payload": {"url": text, "title": text, text: text}}
    click = {"element_id": text, "text": text, "xpath": text, "more": [text, {text: [text]}]}
    yield event() | {"event_type": "click", "payload": click}
    place = {"latitude": 1.5, "longitude": 2.5, text: {"a": text}}
    yield event() | {"event_type": "location", "payload": place}


@pytest.mark.parametrize("text", LISTS)
def test_what_is_stored_is_what_was_sent(
    service: httpx.Client, database: Database, text: str
) -> None:
    sent = list(documents(text))
    for document in sent:
        answer = service.post("/events", json=document)
        assert answer.status_code == 202, answer.text
        expected = document["user_id"], document["event_type"], document["payload"]
        assert stored(database, answer.json()["event_id"]) == expected
        read = service.get(f"/events/{answer.json()['event_id']}").json()
        assert (read["user_id"], read["event_type"], read["payload"]) == expected
    batch = service.post("/events/batch", json=sent)
    assert batch.json() == {"accepted": len(sent), "duplicates": 0, "rejected": []}
    assert events_in(database) == 2 * len(sent)
    found = service.get("/events", params={"user_id": sent[0]["user_id"]}).json()["events"]
    assert {one["user_id"] for one in found} == {sent[0]["user_id"]}
    service.get("/events/export?format=csv").raise_for_status()
    for path in ("/analytics/top-pages", "/analytics/top-elements"):
        service.get(path).raise_for_status()


@pytest.mark.parametrize("text", LISTS)
def test_no_field_takes_it_for_anything_else(
    service: httpx.Client, database: Database, text: str
) -> None:
    for document in (
        event() | {"event_type": text},
        event() | {"event_id": text},
        event() | {"payload": text},
        event() | {text: text},
        event() | {"event_type": "location", "payload": {"latitude": text, "longitude": text}},
        event() | {"event_type": "view", "payload": {"url": {text: text}}},
        event() | {"user_id": {text: text}},
    ):
        answer = service.post("/events", json=document)
        assert answer.status_code == 400
        assert not INSIDE.search(answer.text.replace(text, ""))
    assert events_in(database) == 0


@pytest.mark.parametrize("text", LISTS)
def test_no_parameter_takes_it_for_anything_else(
    service: httpx.Client, database: Database, text: str
) -> None:
    for event_type in EVENT_TYPES:
        document = {"view": event(), "click": event() | {"event_type": "click"}}.get(event_type)
        if document is not None:
            service.post("/events", json=document).raise_for_status()
    before = events_in(database)
    for path, name, place in PARAMETERS:
        url = target_of(path)
        if place == "path":
            quoted = str(httpx.QueryParams({"": text})).removeprefix("=").replace("+", "%20")
            url = path.format(event_id=quoted)
        params = {} if place == "path" else {name: text}
        answer = service.get(url, params=httpx.URL(url).params.merge(params))
        expected = (200,) if name in ("user_id", "key") else (400, 404)
        assert answer.status_code in expected, (url, name, text, answer.text)
        assert "set-cookie" not in answer.headers
    assert events_in(database) == before
