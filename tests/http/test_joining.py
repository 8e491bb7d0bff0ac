"""Answers in one piece: everything is sent, in order, and a slow reader stops the writer."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from service.joining import HELD_BYTES, JoiningTransport
from tests.support.services import serving

PIECE = b"x" * 10_000
PIECES = 5_000
GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class Recorder(asyncio.Transport):
    """A transport that goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def test_what_is_written_in_one_turn_is_sent_in_one_piece() -> None:
    async def scenario() -> None:
        transport = JoiningTransport(recorder)
        for turn in (b"ab", b"cd"):
            for data in turn:
                transport.write(bytes([data]))
            await asyncio.sleep(0)

    recorder = Recorder()
    asyncio.run(scenario())
    assert recorder.sent == [b"ab", b"cd"]


def test_much_is_not_held_back() -> None:
    async def scenario() -> None:
        transport = JoiningTransport(recorder)
        transport.write(b"a")
        transport.write(bytes(HELD_BYTES))
        assert [len(data) for data in recorder.sent] == [HELD_BYTES + 1]
        transport.write(b"b")
        await asyncio.sleep(0)

    recorder = Recorder()
    asyncio.run(scenario())
    assert recorder.sent[1:] == [b"b"]


def test_what_was_written_is_sent_before_the_end() -> None:
    async def scenario() -> None:
        transport = JoiningTransport(recorder)
        transport.write(b"last")
        transport.close()
        assert recorder.sent == [b"last"]
        await asyncio.sleep(0)

    recorder = Recorder()
    asyncio.run(scenario())
    assert (recorder.sent, recorder.closed) == ([b"last"], True)


def test_nothing_is_sent_to_a_peer_that_has_gone() -> None:
    async def scenario() -> None:
        transport = JoiningTransport(recorder)
        transport.write(b"late")
        recorder.closed = True
        await asyncio.sleep(0)

    recorder = Recorder()
    asyncio.run(scenario())
    assert recorder.sent == []


class Stream:
    """An application that streams, and counts what it has sent so far."""

    def __init__(self) -> None:
        self.sent = 0
        self.ended = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await answer_lifespan(receive, send)
            return
        try:
            await StreamingResponse(self._pieces())(scope, receive, send)
        finally:
            self.ended.set()

    async def _pieces(self) -> AsyncIterator[bytes]:
        for _ in range(PIECES):
            yield PIECE
            self.sent += 1


async def answer_lifespan(receive: Receive, send: Send) -> None:
    for what in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{what}.complete"})


def connect(base_url: str) -> socket.socket:
    port = int(base_url.rpartition(":")[2])
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(GET)
    return connection


def until_it_stops(stream: Stream) -> int:
    """Return how much was sent once that does not change any more."""
    before, now = -1, stream.sent
    while before != now or now == 0:
        time.sleep(0.3)
        before, now = now, stream.sent
    return now


def test_a_slow_reader_stops_the_writer_and_gets_everything() -> None:
    stream = Stream()
    with serving(stream) as base_url, connect(base_url) as connection:
        # The kernel takes some megabytes; all of it would be fifty.
        assert until_it_stops(stream) < PIECES / 2
        answer = bytearray()
        while chunk := connection.recv(1 << 20):
            answer += chunk
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b"2710\r\n%b\r\n" % PIECE * PIECES + b"0\r\n\r\n"


def test_a_reader_that_goes_ends_the_writing() -> None:
    stream = Stream()
    with serving(stream) as base_url:
        with connect(base_url) as connection:
            assert until_it_stops(stream) < PIECES
            connection.recv(1)
        assert stream.ended.wait(20)
