"""POST /events/batch: what is valid of a batch is stored, and each of the others is named."""

import gzip
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import httpx
import pytest

from service.events import new_event_id
from service.ingest.batches import MAX_TOLD_ERRORS
from tests.http.support import assert_problem, event, events_in, exchange, status_of, stored
from tests.support.databases import Database, blocked_table
from tests.support.services import running_service

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 1024 * 1024
NDJSON = {"Content-Type": "application/x-ndjson"}

pytestmark = pytest.mark.usefixtures("no_events")


def given_id(milliseconds_from_now: int = 0) -> str:
    return str(UUID(bytes=new_event_id(time.time_ns() // 1_000_000 + milliseconds_from_now)))


def with_ids(count: int) -> list[dict[str, Any]]:
    return [event(number=number) | {"event_id": given_id()} for number in range(count)]


def post(client: httpx.Client, events: Any, **headers: str) -> httpx.Response:
    body = events if isinstance(events, bytes) else json.dumps(events).encode()
    return client.post(
        "/events/batch", content=body, headers={"Content-Type": "application/json"} | headers
    )


def counts(answer: httpx.Response) -> tuple[int, int, list[int]]:
    """Return accepted, duplicates, and the rejected indices."""
    assert answer.status_code == 202, answer.text[:500]
    assert answer.headers["content-type"] == "application/json"
    result = answer.json()
    return result["accepted"], result["duplicates"], [one["index"] for one in result["rejected"]]


# What is stored


@pytest.mark.parametrize("count", [1, 2, 100, 10_000])
def test_every_event_of_an_array_is_stored(
    service: httpx.Client, database: Database, count: int
) -> None:
    assert counts(post(service, [event(n=n) for n in range(count)])) == (count, 0, [])
    row = database.execute("select count(distinct payload ->> 'n') from events").fetchone()
    assert row == (count,)


def test_events_are_stored_as_sent(service: httpx.Client, database: Database) -> None:
    documents = [
        *with_ids(2),
        {
            "user_id": "u",
            "event_type": "click",
            "payload": {"a": {"é": "🙂"}},
            "event_id": given_id(),
        },
    ]
    assert counts(post(service, documents)) == (3, 0, [])
    for sent in documents:
        kept = stored(database, sent["event_id"])
        assert kept == (sent["user_id"], sent["event_type"], sent["payload"])


@pytest.mark.parametrize("media_type", ["application/x-ndjson", "text/plain;charset=UTF-8", None])
def test_lines_are_events_too(
    service: httpx.Client, database: Database, media_type: str | None
) -> None:
    body = b"\r\n".join(json.dumps(one).encode() for one in with_ids(20))
    headers = {} if media_type is None else {"Content-Type": media_type}
    answer = service.post("/events/batch", content=body, headers=headers)
    assert counts(answer) == (20, 0, [])
    assert events_in(database) == 20


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("zstd", zstd.compress),
        ("identity", bytes),
    ],
)
def test_a_batch_may_be_compressed(
    service: httpx.Client, database: Database, coding: str, encode: Any
) -> None:
    body = encode(json.dumps(with_ids(1000)).encode())
    assert counts(post(service, body, **{"Content-Encoding": coding})) == (1000, 0, [])
    assert events_in(database) == 1000


# What is sent again


def test_a_batch_sent_again_is_stored_once(service: httpx.Client, database: Database) -> None:
    events = with_ids(300)
    assert counts(post(service, events[:200])) == (200, 0, [])
    assert counts(post(service, events)) == (100, 200, [])
    assert counts(post(service, events)) == (0, 300, [])
    assert events_in(database) == 300


def test_equal_events_of_a_batch_are_one_and_others_are_refused(
    service: httpx.Client, database: Database
) -> None:
    (first,) = with_ids(1)
    other = first | {"user_id": "another"}
    answer = post(service, [first, first, other, event()])
    assert counts(answer) == (2, 1, [2])
    assert answer.json()["rejected"][0]["errors"][0]["field"] == "event_id"
    assert stored(database, first["event_id"])[0] == first["user_id"]


def test_a_batch_sent_to_two_services_at_once_is_stored_once(
    service: httpx.Client, shared_database_url: str, database: Database
) -> None:
    events = with_ids(500)
    with (
        running_service(database_url=shared_database_url) as base_url,
        httpx.Client(base_url=base_url, timeout=20) as another,
        ThreadPoolExecutor(6) as senders,
    ):
        clients = [service, another] * 3
        found = [counts(one) for one in senders.map(lambda client: post(client, events), clients)]
    assert sum(accepted for accepted, _, _ in found) == 500
    assert all(accepted + duplicates == 500 for accepted, duplicates, _ in found)
    assert events_in(database) == 500


# What is refused


def test_what_is_wrong_is_named_by_its_index(service: httpx.Client, database: Database) -> None:
    bad = {"user_id": "", "event_type": "view", "payload": {}}
    answer = post(service, [bad, event(), None, event(), event(a="\0")])
    assert counts(answer) == (2, 0, [0, 2, 4])
    fields = [[error["field"] for error in one["errors"]] for one in answer.json()["rejected"]]
    assert fields == [["user_id", "payload.url"], ["body"], ["payload.a"]]
    assert events_in(database) == 2


def test_a_bad_line_is_a_rejected_index(service: httpx.Client, database: Database) -> None:
    line = json.dumps(event()).encode()
    body = b"\n".join([line, b"", b"{", b"\xff", b"x" * 70_000, line])
    assert counts(service.post("/events/batch", content=body, headers=NDJSON)) == (2, 0, [1, 2, 3])
    assert events_in(database) == 2


@pytest.mark.parametrize("days", [-8, 1])
def test_an_id_outside_the_window_is_told_our_time(service: httpx.Client, days: int) -> None:
    late = event() | {"event_id": given_id(days * 24 * 3600 * 1000)}
    answer = post(service, [event(), late, event() | {"event_id": str(UUID(int=0))}])
    assert counts(answer) == (1, 0, [1, 2])
    outside, no_uuid7 = answer.json()["rejected"]
    assert outside["server_time"].endswith("Z")
    assert "server_time" not in no_uuid7


def test_a_batch_without_a_valid_event_is_400_and_says_why(
    service: httpx.Client, database: Database
) -> None:
    problem = assert_problem(post(service, [{}, event(url=1)]), 400)
    assert [one["index"] for one in problem["rejected"]] == [0, 1]
    assert problem["rejected"][1]["errors"][0]["field"] == "payload.url"
    assert events_in(database) == 0


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"[", b"\xef\xbb\xbf[]", b"[" * 100_000])
def test_what_is_no_batch_is_400(service: httpx.Client, body: bytes) -> None:
    problem = assert_problem(post(service, body), 400)
    assert problem["type"].endswith(":invalid-batch")
    assert [error["field"] for error in problem["errors"]] == ["body"]


def test_the_answer_to_many_wrong_events_stays_small(service: httpx.Client) -> None:
    bad = {"event_type": "view", **{f"{'k' * 190}{number}": 1 for number in range(3)}}
    rejected = post(service, [bad] * 10_000).json()["rejected"]
    assert len(rejected) == 10_000
    assert sum(len(one["errors"]) for one in rejected) < MAX_TOLD_ERRORS + 10_000
    assert len(rejected[0]["errors"]) > 1
    assert len(rejected[-1]["errors"]) == 1


@pytest.mark.parametrize("media_type", ["application/xml", "application/x-www-form-urlencoded"])
def test_another_type_is_415(service: httpx.Client, media_type: str) -> None:
    answer = post(service, [event()], **{"Content-Type": media_type})
    assert assert_problem(answer, 415)["type"] == "urn:tallymark:problem:not-json"
    assert answer.headers["accept-post"] == "application/json, application/x-ndjson"


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "gzip, zstd", "x"])
def test_another_coding_is_415(service: httpx.Client, coding: str) -> None:
    answer = post(service, [event()], **{"Content-Encoding": coding})
    assert assert_problem(answer, 415)["type"] == "urn:tallymark:problem:unknown-coding"
    assert answer.headers["accept-encoding"] == "gzip, zstd"


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize("body", [b"", b"[]", gzip.compress(b"[]")[:-1], zstd.compress(b"[]")[:-1]])
def test_a_damaged_coding_is_400(service: httpx.Client, coding: str, body: bytes) -> None:
    assert_problem(post(service, body, **{"Content-Encoding": coding}), 400)


def test_parameters_are_refused(service: httpx.Client, database: Database) -> None:
    answer = service.post("/events/batch?site=2", json=[event()])
    assert assert_problem(answer, 400)["errors"][0]["field"] == "site"
    assert events_in(database) == 0


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_another_method_is_405(service: httpx.Client, method: str) -> None:
    answer = service.request(method, "/events/batch")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


# Limits


@pytest.mark.parametrize(
    ("coding", "encode"), [("identity", bytes), ("gzip", gzip.compress), ("zstd", zstd.compress)]
)
def test_a_batch_of_8_mib_is_accepted_and_one_byte_more_is_413(
    service: httpx.Client, database: Database, coding: str, encode: Any
) -> None:
    body = json.dumps([event(n=n) for n in range(5)]).encode()
    body += b" " * (8 * MIB - len(body))
    assert counts(post(service, encode(body), **{"Content-Encoding": coding})) == (5, 0, [])
    answer = post(service, encode(body + b" "), **{"Content-Encoding": coding})
    assert_problem(answer, 413)
    assert events_in(database) == 5


def test_more_than_10000_events_are_413(service: httpx.Client, database: Database) -> None:
    assert_problem(post(service, [event()] * 10_001), 413)
    lines = b"\n".join([json.dumps(event()).encode()] * 10_001)
    assert_problem(service.post("/events/batch", content=lines, headers=NDJSON), 413)
    assert events_in(database) == 0


def test_a_length_over_the_limit_is_refused_before_it_is_sent(service: httpx.Client) -> None:
    head = b"POST /events/batch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (8 * MIB + 1)
    assert status_of(exchange(service.base_url, head, until=b"}")) == 413


# What the database does not take


@pytest.fixture
def no_bad_user(database: Database) -> Iterator[None]:
    """Let the database refuse what the service takes for valid."""
    database.execute("alter table events add constraint no_bad_user check (user_id <> 'bad')")
    yield
    database.execute("alter table events drop constraint no_bad_user")


@pytest.mark.usefixtures("no_bad_user")
def test_what_the_database_refuses_is_rejected_by_its_index(
    service: httpx.Client, database: Database
) -> None:
    bad = event("bad") | {"event_id": given_id()}
    answer = post(service, [event(), None, bad, event(), bad])
    assert counts(answer) == (2, 0, [1, 2, 4])
    refused = [{"field": "body", "message": "The database refused the event"}]
    assert [one["errors"] for one in answer.json()["rejected"][1:]] == [refused, refused]
    assert events_in(database) == 2
    problem = assert_problem(post(service, [bad]), 400)
    assert [one["index"] for one in problem["rejected"]] == [0]
    assert_problem(service.post("/events", json=bad), 400)
    assert events_in(database) == 2


def test_an_unknown_outcome_names_the_ids_by_index(
    shared_database_url: str, database: Database, native: bool
) -> None:
    documents: list[Any] = [event(n=0), None, *with_ids(1)]
    with (
        running_service(
            database_url=shared_database_url, ingest_deadline_seconds=0.5, spool_bytes=0
        ) as base_url,
        httpx.Client(base_url=base_url, timeout=20) as client,
    ):
        with blocked_table(shared_database_url, native=native):
            answer = post(client, documents)
        problem = assert_problem(answer, 503)
        assert answer.headers["retry-after"]
        ids = problem["event_ids"]
        assert [one is None for one in ids] == [False, True, False]
        assert ids[2] == documents[2]["event_id"]
        again = [documents[index] | {"event_id": ids[index]} for index in (0, 2)]
        accepted, duplicates, _ = counts(post(client, again))
        assert accepted + duplicates == 2
    assert events_in(database) == 2
