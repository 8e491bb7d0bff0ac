"""Connections that send no request, or half of one: closed by the service, and others served."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
import pytest

from tests.hostile.test_heads import GOOD, statuses
from tests.http.support import event
from tests.http.test_protocol import GET, Holding, everything
from tests.support.services import running_service, serving

LONG = 3600.0
SHORT = 0.5
HALF = b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Le"
MANY = 300


@contextmanager
def connections(base_url: str, count: int = 1) -> Iterator[list[socket.socket]]:
    """Yield so many connections to a service."""
    url = httpx.URL(base_url)
    with ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection((url.host, url.port or 80), timeout=60))
            for _ in range(count)
        ]


@pytest.fixture(scope="module")
def impatient(shared_database_url: str) -> Iterator[str]:
    """The URL of a service that waits half a second for a head, and for the next request."""
    with running_service(
        database_url=shared_database_url, head_seconds=SHORT, idle_seconds=SHORT
    ) as base_url:
        yield base_url


@pytest.mark.parametrize("sent", [b"G", b"GET / HT", HALF, HALF[:32]])
def test_half_a_head_and_silence_is_408(impatient: str, sent: bytes) -> None:
    with connections(impatient) as (connection,):
        connection.sendall(sent)
        answer = everything(connection)
    assert statuses(answer) == [408]
    assert b"urn:tallymark:problem:head-timeout" in answer
    assert b"\r\nconnection: close\r\n" in answer


@pytest.mark.parametrize("sent", [b"", b"\r\n\r\n"])
def test_a_connection_that_says_nothing_is_closed(impatient: str, sent: bytes) -> None:
    with connections(impatient) as (connection,):
        connection.sendall(sent)
        assert everything(connection) == b""


@pytest.mark.parametrize("line", [b"x", b"A: b\r\n"])
def test_a_head_that_never_ends_is_408_however_slow(impatient: str, line: bytes) -> None:
    with connections(impatient) as (connection,):
        connection.sendall(b"GET / HTTP/1.1\r\n")
        connection.settimeout(SHORT / 10)
        deadline = time.monotonic() + 60
        answer = b""
        while not answer:
            assert time.monotonic() < deadline
            connection.sendall(line)
            with suppress(TimeoutError):
                answer = connection.recv(1 << 16)
    assert statuses(answer) == [408]


def test_a_connection_is_kept_for_the_next_request(shared_database_url: str) -> None:
    with (
        running_service(database_url=shared_database_url, head_seconds=SHORT) as base_url,
        connections(base_url) as (connection,),
    ):
        for _ in range(2):
            connection.sendall(GOOD)
            assert statuses(connection.recv(1 << 16)) == [202]
            time.sleep(SHORT * 2)  # That it waits longer than for a head is what is tried.


def test_an_idle_connection_is_closed(impatient: str) -> None:
    with connections(impatient) as (connection,):
        connection.sendall(GOOD)
        assert statuses(everything(connection)) == [202]


@pytest.mark.parametrize("sent", [HALF, b"\r\n", b"G"])
def test_so_is_one_that_begins_another_request(shared_database_url: str, sent: bytes) -> None:
    with (
        running_service(
            database_url=shared_database_url, head_seconds=SHORT, idle_seconds=SHORT * 2
        ) as base_url,
        connections(base_url) as (connection,),
    ):
        connection.sendall(GOOD)
        assert statuses(connection.recv(1 << 16)) == [202]
        connection.sendall(sent)
        assert statuses(everything(connection)) == ([] if sent == b"\r\n" else [408])


def test_a_body_that_nobody_waits_for_is_not_waited_for(impatient: str) -> None:
    with connections(impatient) as (connection,):
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        assert statuses(everything(connection)) == [404]


def test_others_are_served_beside_many_that_loiter(impatient: str) -> None:
    with connections(impatient, MANY) as loitering:
        for connection in loitering:
            connection.sendall(HALF)
        for _ in range(20):
            assert httpx.post(f"{impatient}/events", json=event(), timeout=60).is_success
        for connection in loitering:
            assert statuses(everything(connection)) == [408]


def test_new_connections_take_the_place_of_the_oldest_that_sent_nothing(
    shared_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.loitering.GRACE_SECONDS", 0)
    with (
        running_service(
            database_url=shared_database_url,
            head_seconds=LONG,
            idle_seconds=LONG,
            new_connections=10,
        ) as base_url,
        connections(base_url) as (served,),
    ):
        served.sendall(GOOD)
        assert statuses(served.recv(1 << 16)) == [202]
        with connections(base_url, MANY) as loitering:
            for connection in loitering[: MANY - 10]:
                assert everything(connection) == b""
            # The last ones are within the bound, and the first was served before.
            for connection in (served, *loitering[-10:]):
                connection.sendall(GOOD)
                assert statuses(connection.recv(1 << 16)) == [202]


def test_many_that_come_at_once_are_all_served(
    shared_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.loitering.GRACE_SECONDS", LONG)
    with (
        running_service(database_url=shared_database_url, new_connections=1) as base_url,
        connections(base_url, MANY) as many,
    ):
        for connection in many:
            connection.sendall(GOOD)
        for connection in many:
            assert statuses(connection.recv(1 << 16)) == [202]


def test_an_answer_may_take_longer_than_a_head() -> None:
    app = Holding(at_once=0)
    with (
        serving(app, head_seconds=0.1, idle_seconds=0.1) as base_url,
        connections(base_url) as (connection,),
    ):
        connection.sendall(GET)
        assert app.holds.wait(20)
        time.sleep(SHORT)
        app.go_on()
        assert statuses(everything(connection)) == [200]


def test_who_goes_on_sending_what_is_no_request_is_cut_off(impatient: str) -> None:
    with connections(impatient) as (connection,), pytest.raises(ConnectionError):
        send_for_a_minute(connection, b"no request\r\n\r\n" * 1000)


def send_for_a_minute(connection: socket.socket, data: bytes) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        connection.sendall(data)
        time.sleep(0.01)


def test_a_stop_does_not_wait_for_who_loiters(shared_database_url: str) -> None:
    with ExitStack() as stack:
        with running_service(
            database_url=shared_database_url, head_seconds=LONG, shutdown_seconds=LONG
        ) as base_url:
            silent, half, refused = stack.enter_context(connections(base_url, 3))
            half.sendall(HALF)
            refused.sendall(b"no request\r\n\r\n")
            assert statuses(refused.recv(1 << 16)) == [400]
        assert everything(silent) == everything(half) == b""
