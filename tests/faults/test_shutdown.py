"""SIGTERM under load: what is in flight is answered, and the service ends in time."""

import asyncio
import json
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.faults.support import PATIENCE, kept_promise, settle
from tests.http.support import event
from tests.support.databases import blocked_table
from tests.support.services import ServiceProcess

pytestmark = pytest.mark.fault

EXIT_SECONDS = 10.0
STALLED = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n%s"


@pytest.mark.parametrize("stalled", [0, 8])
def test_sigterm_answers_what_is_in_flight_and_ends_in_time(
    database_url: str, tmp_path: Path, stalled: int
) -> None:
    async def scenario() -> float:
        async with trial.senders() as senders:
            await senders.until_accepted(200)
            started = time.monotonic()
            status = await asyncio.to_thread(trial.service.terminate, EXIT_SECONDS * PATIENCE)
            assert status == 0
            return time.monotonic() - started

    what = f"SIGTERM, {stalled} stalled clients"
    with kept_promise(what, database_url, tmp_path) as trial, ExitStack() as stack:
        for number in range(stalled):
            client = stack.enter_context(
                socket.create_connection(("127.0.0.1", trial.service.port))
            )
            path = b"/events/batch" if number % 2 else b"/events"
            client.sendall(STALLED % (path, b'{"user_id"' if number % 4 else b""))
        print(f"ended after {asyncio.run(scenario()):.1f} s")
    assert trial.comparison.stored == trial.comparison.accepted, (
        "something was stored and not answered"
    )


EXPECTING = (
    b"POST %s HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
    b"Content-Length: %d\r\nX-Request-ID: %s\r\n\r\n"
)


def begin(service: ServiceProcess, path: str, body: bytes, request_id: str) -> socket.socket:
    """Return the connection of a request that the service waits for the body of."""
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=20 * PATIENCE)
    connection.sendall(EXPECTING % (path.encode(), len(body), request_id.encode()))
    expected = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert connection.recv(len(expected), socket.MSG_WAITALL) == expected
    return connection


def answer_to(connection: socket.socket) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the header fields and the problem of a 503, after which the connection is closed."""
    with connection, connection.makefile("rb") as file:
        head, _, body = file.read().partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    assert line.startswith("HTTP/1.1 503 "), line
    return {name: value for name, _, value in (one.partition(": ") for one in lines)}, json.loads(
        body
    )


def test_what_a_stop_does_not_wait_for_is_503_and_what_waits_is_stored(
    database_url: str, tmp_path: Path, native: bool
) -> None:
    service = ServiceProcess(
        database_url, tmp_path / "log", SHUTDOWN_SECONDS="2", INGEST_DEADLINE_SECONDS="20"
    )
    one, two = json.dumps(event()).encode(), json.dumps([event(), event()]).encode()
    with service.running(), ExitStack() as stack:
        with blocked_table(database_url, native=native):
            stalled, waiting = (
                [
                    stack.enter_context(begin(service, "/events", one, f"{what}-one")),
                    stack.enter_context(begin(service, "/events/batch", two, f"{what}-two")),
                ]
                for what in ("stalled", "waiting")
            )
            connections, bodies = stalled + waiting, [one[:-1], two[:-1], one, two]
            for connection, body in zip(connections, bodies, strict=True):
                connection.sendall(body)
            assert service.process is not None
            service.process.terminate()
            answers = [answer_to(connection) for connection in connections]
        assert service.process.wait(20 * PATIENCE) == 0
        service.start()
        settle(service)
    for fields, problem in answers:
        assert fields["content-type"] == "application/problem+json"
        assert fields["connection"] == "close"
        assert int(fields["retry-after"]) > 0
        assert problem["request_id"] == fields["x-request-id"]
    *nothing, (_, problem_of_one), (_, problem_of_two) = answers
    for _, problem in nothing:
        assert problem["type"] == "urn:tallymark:problem:stopping"
        assert not {"event_id", "event_ids"} & problem.keys()
    with psycopg.connect(database_url) as connection_to_database:
        rows = connection_to_database.execute("select event_id::text from events").fetchall()
    given = [problem_of_one["event_id"], *problem_of_two["event_ids"]]
    assert sorted(event_id for (event_id,) in rows) == sorted(given)
    assert "Traceback" not in (tmp_path / "log").read_text()
