"""Heads and framing that servers may read differently: refused, and nothing of them is stored."""

import re

import httpx
import pytest

from service.heads import MAX_HEAD_BYTES, bytes_of
from tests.http.support import event_bytes, events_in, exchange
from tests.support.databases import Database

EVENT = event_bytes()
LENGTH = b"Content-Length: %d\r\n" % len(EVENT)
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
GOOD = b"POST /events HTTP/1.1\r\nHost: x\r\n" + LENGTH + b"\r\n" + EVENT
LARGE = 200_000


def post(headers: bytes, body: bytes = EVENT, *, line: bytes = b"POST /events HTTP/1.1") -> bytes:
    """Return a request with a host, these header lines, and a body."""
    return line + b"\r\nHost: x\r\n" + headers + b"\r\n" + body


def get(target: bytes, version: bytes = b"HTTP/1.1", method: bytes = b"GET") -> bytes:
    """Return a request without a body."""
    return method + b" " + target + b" " + version + b"\r\nHost: x\r\n\r\n"


def chunked(body: bytes, coding: bytes = b"Transfer-Encoding: chunked\r\n") -> bytes:
    """Return a request whose body is in chunks."""
    return post(coding, body)


END = b"0\r\n\r\n"

LONG = {
    "one long header": post(b"A: " + b"x" * LARGE + b"\r\n" + LENGTH),
    "a long name": post(b"A" * LARGE + b": x\r\n" + LENGTH),
    "many headers": post(b"A: xxxxx\r\n" * (LARGE // 10) + LENGTH),
    "a long target": get(b"/" + b"a" * 40_000),
    "a long query": get(b"/events?user_id=" + b"a" * 40_000),
    "headers without end": b"GET / HTTP/1.1\r\n" + b"A: xxxxx\r\n" * (LARGE // 5),
    "a target without end": b"GET /" + b"a" * LARGE * 2,
}
FRAMING = {
    "length and chunks": chunked(CHUNK + END, LENGTH + b"Transfer-Encoding: chunked\r\n"),
    "chunks and length": chunked(CHUNK + END, b"Transfer-Encoding: chunked\r\n" + LENGTH),
    "two lengths": post(LENGTH + b"Content-Length: 1\r\n"),
    "one length twice": post(LENGTH * 2),
    "a list of lengths": post(b"Content-Length: 64, 64\r\n"),
    "a negative length": post(b"Content-Length: -1\r\n"),
    "a length with a plus": post(b"Content-Length: +%d\r\n" % len(EVENT)),
    "a hexadecimal length": post(b"Content-Length: 0x%x\r\n" % len(EVENT)),
    "a length with a blank": post(b"Content-Length: 6 4\r\n"),
    "no length": post(b"Content-Length: \r\n"),
    "a length too long": post(b"Content-Length: " + b"9" * 40 + b"\r\n"),
    "a coding before chunked": chunked(CHUNK + END, b"Transfer-Encoding: gzip, chunked\r\n"),
    "no chunks": chunked(EVENT, b"Transfer-Encoding: gzip\r\n"),
    "identity": chunked(EVENT, b"Transfer-Encoding: identity\r\n" + LENGTH),
    "chunked and more": chunked(CHUNK + END, b"Transfer-Encoding: chunked, identity\r\n"),
    "chunked twice": chunked(CHUNK + END, b"Transfer-Encoding: chunked\r\n" * 2),
    "chunked in quotes": chunked(CHUNK + END, b'Transfer-Encoding: "chunked"\r\n'),
    "chunked misspelt": chunked(CHUNK + END, b"Transfer-Encoding: xchunked\r\n"),
    "chunked after a tab of another kind": chunked(
        CHUNK + END, b"Transfer-Encoding: \x0bchunked\r\n"
    ),
    "no coding": chunked(EVENT, b"Transfer-Encoding: \r\n" + LENGTH),
    "chunks of HTTP/1.0": post(
        b"Transfer-Encoding: chunked\r\n", CHUNK + END, line=b"POST /events HTTP/1.0"
    ),
    "a negative chunk": chunked(b"-" + CHUNK + END),
    "a chunk of 0x": chunked(b"0x" + CHUNK + END),
    "a chunk of no number": chunked(b"g\r\n" + CHUNK + END),
    "a chunk after a blank": chunked(b" " + CHUNK + END),
    "a chunk without a size": chunked(b"\r\n" + CHUNK + END),
    "a chunk too large": chunked(b"f" * 17 + b"\r\n" + EVENT),
    "a chunk longer than it says": chunked(CHUNK[:-2] + b"x\r\n" + END),
    "chunks with bare line feeds": chunked((CHUNK + END).replace(b"\r\n", b"\n")),
    "a bare line feed in an extension": chunked(CHUNK.replace(b"\r\n", b";a\nb\r\n", 1) + END),
    "a bare return in an extension": chunked(CHUNK.replace(b"\r\n", b";a\rb\r\n", 1) + END),
    "a length in the trailers": chunked(CHUNK + b"0\r\nContent-Length: 5\r\n\r\n"),
}
LINES = {
    "a folded header": post(b"A: b\r\n c\r\n" + LENGTH),
    "a folded length": post(LENGTH.replace(b": ", b":\r\n ")),
    "a folded coding": chunked(CHUNK + END, b"Transfer-Encoding:\r\n chunked\r\n"),
    "a fold at first": b"POST /events HTTP/1.1\r\n Host: x\r\n" + LENGTH + b"\r\n" + EVENT,
    "a blank before the colon": post(LENGTH.replace(b":", b" :")),
    "a tab before the colon": post(LENGTH.replace(b":", b"\t:")),
    "a blank in a name": post(b"A B: c\r\n" + LENGTH),
    "no colon": post(b"A\r\n" + LENGTH),
    "no name": post(b": a\r\n" + LENGTH),
    "a name beyond ASCII": post(b"\xc3\xa9: a\r\n" + LENGTH),
    "bare line feeds": GOOD.replace(b"\r\n", b"\n"),
    "a bare line feed": post(b"A: b\n" + LENGTH),
    "a bare line feed at the end": post(LENGTH).replace(b"\r\n\r\n", b"\r\n\n"),
    "a bare return": post(b"A: b\rC: d\r\n" + LENGTH),
    "a bare return before a header": post(b"A: b\r" + LENGTH),
    "a NUL in a value": post(b"A: b\0c\r\n" + LENGTH),
    "a NUL in a name": post(b"A\0: b\r\n" + LENGTH),
    "a control character": post(b"A: b\x01c\r\n" + LENGTH),
    "no host": b"POST /events HTTP/1.1\r\n" + LENGTH + b"\r\n" + EVENT,
    "two hosts": post(b"Host: y\r\n" + LENGTH),
    "two hosts of HTTP/1.0": post(b"Host: y\r\n" + LENGTH, line=b"POST /events HTTP/1.0"),
}
REQUEST_LINES = {
    "another host": get(b"http://evil.example/events"),
    "a host without a path": get(b"http://x"),
    "a host and a name": get(b"http://a:b@x/events"),
    "another scheme": get(b"ftp://x/events"),
    "an asterisk": get(b"*", method=b"OPTIONS"),
    "an asterisk for GET": get(b"*"),
    "a tunnel": get(b"x:80", method=b"CONNECT"),
    "a tunnel to a path": get(b"/events", method=b"CONNECT"),
    "no slash": get(b"events"),
    "no target": b"GET HTTP/1.1\r\nHost: x\r\n\r\n",
    "a blank in the target": get(b"/a b"),
    "a NUL in the target": get(b"/a\0b"),
    "a byte beyond ASCII": get(b"/\xff"),
    "a byte beyond ASCII in the query": get(b"/?\xff"),
    "no method": get(b"/", method=b"BREW"),
    "a method in small letters": get(b"/", method=b"get"),
    "a NUL in the method": get(b"/", method=b"GET\0"),
    "a long method": get(b"/", method=b"G" * LARGE),
    "tabs": b"GET\t/\tHTTP/1.1\r\nHost: x\r\n\r\n",
    "a blank after the version": get(b"/", b"HTTP/1.1 "),
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/0.9 with its name": get(b"/", b"HTTP/0.9"),
    "HTTP/1.2": get(b"/", b"HTTP/1.2"),
    "HTTP/2": get(b"/", b"HTTP/2.0"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http/1.1": get(b"/", b"http/1.1"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
}
REFUSED = (
    {name: (sent, 431) for name, sent in LONG.items()}
    | {name: (sent, 400) for name, sent in (FRAMING | LINES | REQUEST_LINES).items()}
    | {
        "trailers without end": (chunked(CHUNK + b"0\r\nA: " + b"x" * LARGE * 2), 431),
        "an extension without end": (chunked(b"1;" + b"x" * LARGE * 2), 431),
        "a size without end": (chunked(b"0" * LARGE * 2), 431),
    }
)
parametrized = pytest.mark.parametrize(
    ("sent", "status"), REFUSED.values(), ids=REFUSED.keys()
)  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_else(no_events: None) -> None:
    """Begin without events."""


@parametrized
def test_what_is_no_request_is_refused(
    service: httpx.Client, database: Database, sent: bytes, status: int
) -> None:
    answer = exchange(service.base_url, sent)
    assert statuses(answer) == [status]
    assert b"\r\nconnection: close\r\n" in answer
    assert b"\r\ncontent-type: application/problem+json\r\n" in answer
    assert re.search(rb"\r\nx-request-id: ([0-9a-f]{16})\r\n.*\"request_id\": \"\1\"", answer, re.S)
    assert events_in(database) == 0


@parametrized
def test_behind_a_request_it_ends_the_connection_and_that_is_answered_once(
    service: httpx.Client, database: Database, sent: bytes, status: int
) -> None:
    # Either the event is answered and the rest let go of, or that gets an answer of its own.
    answer = exchange(service.base_url, GOOD + sent + GOOD)
    assert statuses(answer) in ([202], [202, status])
    assert answer.count(b"\r\nconnection: close\r\n") == 1
    assert events_in(database) == 1


def test_empty_lines_without_end_are_refused(service: httpx.Client) -> None:
    assert statuses(exchange(service.base_url, b"\r\n" * LARGE)) == [431]


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", answer)]


# What is unusual, and right


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(GOOD, id="a request"),
        pytest.param(b"\r\n\r\n" + GOOD, id="after empty lines"),
        pytest.param(post(LENGTH.replace(b": ", b": 00")), id="a length with zeros"),
        pytest.param(chunked(CHUNK + END), id="chunks"),
        pytest.param(
            chunked(CHUNK + END, b"TRANSFER-ENCODING: CHUNKED \r\n"), id="chunks in capitals"
        ),
        pytest.param(chunked(CHUNK.replace(b"\r\n", b";a=b\r\n", 1) + END), id="an extension"),
        pytest.param(chunked(CHUNK + b"0\r\nA: b\r\n\r\n"), id="trailers"),
        pytest.param(
            chunked(b"".join(b"1\r\n%c\r\n" % byte for byte in EVENT) + END), id="small chunks"
        ),
        pytest.param(post(LENGTH, line=b"POST /events HTTP/1.0"), id="HTTP/1.0"),
        pytest.param(
            b"POST /events HTTP/1.0\r\n" + LENGTH + b"\r\n" + EVENT, id="HTTP/1.0, no host"
        ),
        pytest.param(post(b"A: " + b"x" * 16_000 + b"\r\n" + LENGTH), id="16,000 bytes"),
    ],
)
@pytest.mark.parametrize("times", [1, 2])
def test_what_is_right_is_stored(
    service: httpx.Client, database: Database, sent: bytes, times: int
) -> None:
    last = post(b"Connection: close\r\n" + LENGTH)
    answer = exchange(service.base_url, sent * times + last)
    stored = 1 if b"HTTP/1.0" in sent else times + 1
    assert statuses(answer) == [202] * stored
    assert events_in(database) == stored


@pytest.mark.parametrize("trailer", [b"X-Request-ID: trailed", b"Content-Type: text/html"])
def test_trailers_are_no_headers(service: httpx.Client, trailer: bytes) -> None:
    head = b"Connection: close\r\nTransfer-Encoding: chunked\r\n"
    answer = exchange(service.base_url, post(head, CHUNK + b"0\r\n" + trailer + b"\r\n\r\n"))
    assert statuses(answer) == [202]
    assert b"trailed" not in answer


@pytest.mark.parametrize("size", [1, 100])
def test_a_request_may_come_in_small_pieces(service: httpx.Client, size: int) -> None:
    sent = post(b"A: " + b"x" * 3000 + b"\r\nConnection: close\r\n" + LENGTH)
    pieces = [sent[start : start + size] for start in range(0, len(sent), size)]
    assert statuses(exchange(service.base_url, *pieces)) == [202]


def test_the_longest_head_is_taken_and_one_byte_more_is_not(service: httpx.Client) -> None:
    headers = [(b"host", b"x"), (b"connection", b"close"), (b"a", b"")]
    room = MAX_HEAD_BYTES - bytes_of(b"/health/live", headers)
    for more, status in ((0, 200), (1, 431)):
        head = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\nA: %b\r\n\r\n"
        assert statuses(exchange(service.base_url, head % (b"x" * (room + more)))) == [status]
