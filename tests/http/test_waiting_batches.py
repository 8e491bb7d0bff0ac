"""Bodies that arrive, and batches that wait to be parsed: how many bytes of them, and how long."""

import json
import select
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from service.ingest import parser
from service.ingest.batches import Parsed, parse_batch
from tests.http.support import assert_problem, event, events_in, status_of
from tests.support.databases import Database
from tests.support.services import service_client

pytestmark = pytest.mark.usefixtures("no_events")

SLOW = "slow"
CROWDED = {"ingest_queue_bytes": 65_536, "ingest_deadline_seconds": 20}
"""Settings: few bytes may wait, for as long as it takes."""


class Brake:
    """Holds the parsing of slow batches up until it is released."""

    def __init__(self) -> None:
        self.parsing = threading.Event()
        self.released = threading.Event()

    def parse(self, body: bytes, media_type: str, site_id: int, rounded: None) -> list[Parsed]:
        """Return what the body holds, in its time."""
        if SLOW.encode() in body:
            self.parsing.set()
            assert self.released.wait(20)
        return parse_batch(body, media_type, site_id, rounded)


@pytest.fixture
def brake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Brake]:
    brake = Brake()
    monkeypatch.setattr(parser, "parse_batch", brake.parse)
    yield brake
    brake.released.set()


@contextmanager
def service_with(database_url: str, **settings: float) -> Iterator[httpx.Client]:
    with service_client(database_url=database_url, **settings) as client:
        yield client


def batch_of(size: int, user_id: str = "quick") -> bytes:
    """Return a batch of one event that is so many bytes long."""
    body = json.dumps([event(user_id, filler="")]).encode()
    return body.replace(b'"filler": ""', b'"filler": "%b"' % (b"x" * (size - len(body))))


def post(client: httpx.Client, body: bytes) -> httpx.Response:
    return client.post("/events/batch", content=body)


def begin_slow(
    senders: ThreadPoolExecutor, client: httpx.Client, brake: Brake
) -> Future[httpx.Response]:
    """Return once a slow batch is being parsed."""
    answer = senders.submit(post, client, batch_of(1000, SLOW))
    assert brake.parsing.wait(20)
    return answer


def test_a_batch_whose_turn_does_not_come_in_time_is_503_and_not_stored(
    shared_database_url: str, database: Database, brake: Brake
) -> None:
    with (
        service_with(shared_database_url, ingest_deadline_seconds=0.3) as client,
        ThreadPoolExecutor() as senders,
    ):
        slow = begin_slow(senders, client, brake)
        answer = post(client, batch_of(1000))
        assert not slow.done()
        brake.released.set()
        slow.result()
    problem = assert_problem(answer, 503)
    assert problem["type"] == "urn:tallymark:problem:not-stored"
    assert int(answer.headers["retry-after"]) > 0
    assert "event_ids" not in problem
    assert events_in(database) == 0


def test_a_batch_whose_parsing_takes_too_long_is_503_and_not_stored(
    shared_database_url: str, database: Database, brake: Brake
) -> None:
    with (
        service_with(shared_database_url, ingest_deadline_seconds=0.1) as client,
        ThreadPoolExecutor() as senders,
    ):
        slow = begin_slow(senders, client, brake)
        time.sleep(0.1)
        brake.released.set()
        problem = assert_problem(slow.result(), 503)
    assert problem["type"] == "urn:tallymark:problem:not-stored"
    assert "event_ids" not in problem
    assert events_in(database) == 0


def test_more_bytes_than_may_wait_are_503_at_once(
    shared_database_url: str, database: Database, brake: Brake
) -> None:
    with (
        service_with(shared_database_url, **CROWDED) as client,
        ThreadPoolExecutor() as senders,
    ):
        slow = begin_slow(senders, client, brake)
        waiting = [senders.submit(post, client, batch_of(30_000)) for _ in range(5)]
        while sum(one.done() for one in waiting) < 3:
            time.sleep(0.01)
        too_many = [one.result() for one in waiting if one.done()]
        assert client.post("/events", json=event()).status_code == 202
        brake.released.set()
        statuses = [one.result().status_code for one in [slow, *waiting]]
    for answer in too_many:
        assert assert_problem(answer, 503)["type"] == "urn:tallymark:problem:queue-full"
        assert int(answer.headers["retry-after"]) > 0
    assert sorted(statuses) == [202, 202, 202, 503, 503, 503]
    assert events_in(database) == 4


def test_a_batch_that_alone_is_more_than_may_wait_has_its_turn(
    shared_database_url: str, database: Database, brake: Brake
) -> None:
    with (
        service_with(shared_database_url, **CROWDED) as client,
        ThreadPoolExecutor() as senders,
    ):
        slow = begin_slow(senders, client, brake)
        large = json.dumps([event(filler="x" * 50_000) for _ in range(3)]).encode()
        waiting = senders.submit(post, client, large)
        time.sleep(0.1)
        assert not waiting.done()
        brake.released.set()
        assert [slow.result().status_code, waiting.result().status_code] == [202, 202]
    assert events_in(database) == 4


def begin(client: httpx.Client, body: bytes) -> socket.socket:
    """Return a connection that has sent three quarters of a batch."""
    url = client.base_url
    connection = socket.create_connection((url.host, url.port or 80), timeout=20)
    head = b"POST /events/batch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    connection.sendall(head + body[: len(body) * 3 // 4])
    return connection


def test_more_bytes_than_may_wait_that_still_arrive_are_503_and_cut_off(
    shared_database_url: str, database: Database
) -> None:
    body = batch_of(32_000)
    with (
        service_with(shared_database_url, ingest_queue_bytes=65_536) as client,
        ExitStack() as stack,
    ):
        arriving = {stack.enter_context(begin(client, body)) for _ in range(5)}
        refused: set[socket.socket] = set()
        while len(refused) < 3:
            answered, _, _ = select.select(arriving - refused, [], [], 20)
            assert answered, f"{len(refused)} of 3 were refused"
            refused.update(answered)
        # Who is slow keeps out nothing that comes in one piece.
        assert client.post("/events", json=event()).status_code == 202
        for connection in arriving - refused:
            connection.sendall(body[len(body) * 3 // 4 :])
            assert status_of(connection.recv(65_536)) == 202
        # What they held is given back.
        assert post(client, batch_of(60_000)).status_code == 202
        for connection in refused:
            answer = connection.makefile("rb").read()
            assert status_of(answer) == 503
            assert b"urn:tallymark:problem:queue-full" in answer
            assert b"retry-after: 1\r\n" in answer
    assert events_in(database) == 4
