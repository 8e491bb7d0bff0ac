"""Connections of senders that don't wait, send what is no request, or go: over real sockets."""

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.testing import capture_logs
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.http.test_joining import answer_lifespan
from tests.support.services import serving

PADDING = b"x" * 16_000
MANY = 4_000
"""So many requests with their padding are 64 MB."""


OVERRIDDEN = [
    "connection_made",
    "connection_lost",
    "data_received",
    "on_headers_complete",
    "on_response_complete",
    "send_400_response",
    "shutdown",
    "_unsupported_upgrade_warning",
    "_start_asgi_task",
]


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_uvicorn_still_has_what_is_overridden(name: str) -> None:
    assert name in vars(HttpToolsProtocol)
    assert "resume_reading" in vars(FlowControl)


@contextmanager
def connected(app: ASGIApp) -> Iterator[socket.socket]:
    """Yield a connection to an application that is served."""
    with serving(app) as base_url:
        port = int(base_url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            yield connection


def everything(connection: socket.socket) -> bytes:
    """Return all that comes until the other side closes."""
    return b"".join(iter(lambda: connection.recv(1 << 20), b""))


# Senders that don't wait


class Holding:
    """An application that answers some requests with their path, and the others when told to."""

    def __init__(self, at_once: int) -> None:
        self.left = at_once
        self.holds = threading.Event()
        self._go_on = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def go_on(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._go_on.set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self._loop = asyncio.get_running_loop()
            await answer_lifespan(receive, send)
            return
        if self.left == 0:
            self.holds.set()
            await self._go_on.wait()
        else:
            self.left -= 1
        await PlainTextResponse(f"{scope['path']}\n")(scope, receive, send)


def padded(number: int, more: bytes = b"") -> bytes:
    return b"GET /%d HTTP/1.1\r\nHost: x\r\n%bPadding: %b\r\n\r\n" % (number, more, PADDING)


def send_until_it_stops(connection: socket.socket) -> tuple[int, bytes]:
    """Return how many requests were sent, and what is left to send of the last one."""
    connection.settimeout(1)
    for number in range(MANY):
        left = memoryview(padded(number))
        while left:
            try:
                left = left[connection.send(left) :]
            except TimeoutError:
                return number + 1, bytes(left)
    return MANY, b""


def test_requests_are_not_read_before_those_in_front_are_answered() -> None:
    app = Holding(at_once=200)
    with connected(app) as connection:
        sent, left = send_until_it_stops(connection)
        assert app.holds.wait(20)
        app.go_on()
        # The kernel takes some megabytes; a read for each answer would take 50 more.
        assert sent < MANY / 2
        connection.settimeout(20)
        connection.sendall(left + padded(sent, b"Connection: close\r\n"))
        paths = re.findall(rb"^/(\d+)$", everything(connection), re.MULTILINE)
    assert [int(path) for path in paths] == list(range(sent + 1))


async def count_body(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the length of the body."""
    if scope["type"] == "lifespan":
        await answer_lifespan(receive, send)
        return
    body = await Request(scope, receive).body()
    await PlainTextResponse(f"{len(body)}\n")(scope, receive, send)


def test_a_body_is_read_on_once_it_is_its_turn() -> None:
    size = 1_000_000
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
    with connected(count_body) as connection:
        connection.sendall(post * 4 + padded(1, b"Connection: close\r\n"))
        lengths = re.findall(rb"^(\d+)$", everything(connection), re.MULTILINE)
    assert lengths == [b"%d" % size] * 4 + [b"0"]


# What is no request

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"
BROKEN = CHUNKED + b"no length\r\n"
BAD_PATH = b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        pytest.param(POST + b"}", [200], id="a byte too many"),
        pytest.param(POST + b"\1no request\r\n\r\n", [200], id="no request"),
        pytest.param(POST + BAD_PATH + POST, [200], id="a bad path"),
        pytest.param(POST * 3 + b"}", [200] * 3, id="three before it"),
        pytest.param(POST + BROKEN, [200], id="a broken body"),
        pytest.param(POST * 2 + BROKEN, [200] * 2, id="a broken body, and two before it"),
        pytest.param(CHUNKED + b"0\r\n\r\n" + b"}", [200], id="a byte after the last chunk"),
        pytest.param(b"}", [400], id="nothing before it"),
        pytest.param(BROKEN, [400], id="only a broken body"),
    ],
)
def test_what_is_no_request_is_refused_once_those_before_it_are_answered(
    sent: bytes, statuses: list[int]
) -> None:
    with connected(count_body) as connection:
        connection.sendall(sent)
        answers = everything(connection)
    assert [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", answers)] == statuses
    # Only the last one says that the connection ends.
    assert answers.count(b"connection: close\r\n") == 1
    assert b"connection: close" in answers.rpartition(b"HTTP/1.1 ")[2]


def test_what_is_no_request_is_refused_alone_after_an_answer() -> None:
    with connected(count_body) as connection:
        connection.sendall(POST)
        assert connection.recv(1 << 20).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"}" + POST)
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_what_follows_what_is_no_request_is_neither_answered_nor_logged() -> None:
    app = Holding(at_once=0)
    with capture_logs() as entries, connected(app) as connection:
        connection.sendall(b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n}")
        assert app.holds.wait(20)
        connection.sendall(POST)
        app.go_on()
        answers = everything(connection)
    assert answers.startswith(b"HTTP/1.1 200 ")
    assert answers.endswith(b"\r\n/first\n")
    assert answers.count(b"HTTP/1.1 ") == 1
    assert [entry["event"] for entry in entries] == ["connection refused"]


# Senders that go


class Endless:
    """An application that streams until the other side has gone, and counts its requests."""

    def __init__(self) -> None:
        self.requests = 0
        self.told = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await answer_lifespan(receive, send)
            return
        self.requests += 1
        streaming = asyncio.create_task(self._stream(send))
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
            self.told.set()
        finally:
            streaming.cancel()

    async def _stream(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": PADDING, "more_body": True})
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("behind", [b"", GET, GET * 3, POST, BROKEN, b"}"])
def test_an_answer_under_way_is_told_that_its_reader_has_gone(behind: bytes) -> None:
    app = Endless()
    with connected(app) as connection:
        connection.sendall(GET + behind)
        assert connection.recv(1 << 10).startswith(b"HTTP/1.1 200 ")
        connection.close()
        assert app.told.wait(20)
    assert app.requests == 1
