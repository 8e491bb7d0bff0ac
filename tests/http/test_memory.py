"""Bodies are let go of with their requests: Python looks for cycles seldom (service/server.py)."""

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

import service.ingest.endpoints
from service.ingest.bodies import BATCH
from tests.http.support import exchange, status_of
from tests.support.services import running_service

HEAD = b"POST /events/batch HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
LARGE = 500_000
CHUNK = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"

STALLED = HEAD + b"Content-Length: %d\r\n\r\n[" % (LARGE + 100) + b" " * LARGE
TOO_LARGE = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK * (BATCH.max_bytes // 0x10000 + 1)
BROKEN = HEAD + b"Content-Length: %d\r\n\r\n" % LARGE + b"[" + b"x" * (LARGE - 1)


@contextmanager
def garbage() -> Iterator[list[object]]:
    """Yield a list that holds at the end all that was left to the collector of cycles."""
    found: list[object] = []
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize(
    ("request_bytes", "status"), [(STALLED, 408), (TOO_LARGE, 413), (BROKEN, 400)]
)
def test_a_refused_body_is_part_of_no_cycle(
    shared_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    request_bytes: bytes,
    status: int,
) -> None:
    monkeypatch.setattr(service.ingest.endpoints, "BODY_SECONDS", 0.5)
    with (
        garbage() as found,
        running_service(database_url=shared_database_url) as base_url,
        ThreadPoolExecutor() as senders,
    ):
        url = httpx.URL(base_url)
        answers = list(senders.map(lambda _: exchange(url, request_bytes), range(4)))
    assert {status_of(answer) for answer in answers} == {status}
    assert [len(body) for one in found for body in gc.get_referents(one) if is_body(body)] == []


def is_body(value: object) -> bool:
    """Return whether a value is the larger part of a body."""
    return isinstance(value, bytes | bytearray) and len(value) >= LARGE // 2
