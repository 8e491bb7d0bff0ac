"""More than the service can take: plain answers, and bounded memory."""

import asyncio
import gzip
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.support import MIB, assert_recovers, kept_promise, lasting, settle, statuses
from tests.http.support import status_of
from tests.support.senders import Habit
from tests.support.services import ServiceProcess

pytestmark = pytest.mark.fault

CONNECTIONS = 256
QUEUE_BYTES = 4 * MIB
LOADED_BYTES = 150 * MIB
"""What the service may hold beside what it holds when it is idle: 256 requests are in it at once,
as bodies and as objects."""
BODIES_BYTES = 64 * MIB


async def most_memory(service: ServiceProcess, seconds: float) -> int:
    """Return the most bytes that the service held in that time."""
    most = 0
    async with asyncio.timeout(seconds + 30):
        for _ in range(int(seconds * 4)):
            most = max(most, service.memory_bytes)
            await asyncio.sleep(0.25)
    return most


def test_many_connections_with_batches(database_url: str, tmp_path: Path) -> None:
    seconds = lasting(6, 30)

    async def scenario() -> None:
        idle = trial.service.memory_bytes
        habits = [Habit(100), Habit(100, given_ids=True)]
        # So many senders in one process are slow: before they use a connection again, the service
        # may have closed it.
        async with trial.senders(count=CONNECTIONS, habits=habits, keep_alive=False) as senders:
            most = await most_memory(trial.service, seconds)
            await assert_recovers(senders)
        print(f"at most {(most - idle) / MIB:.0f} MiB more than when idle")
        assert not {answer.error for answer in senders.answers} - {""}
        assert statuses(senders.answers) <= {202, 503}
        assert most - idle < LOADED_BYTES

    with kept_promise(
        f"{CONNECTIONS} connections x batches of 100",
        database_url,
        tmp_path,
        INGEST_QUEUE_BYTES=str(QUEUE_BYTES),
    ) as trial:
        asyncio.run(scenario())


EVENT = b'{"user_id":"u","event_type":"view","payload":{"url":"%s"}}'
FULL = EVENT % (b"x" * (64 * 1024 - len(EVENT) + 2))
BOMB = gzip.compress(b"[" + b" " * (256 * MIB))
HEAD = b"POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
SINGLE, BATCH = HEAD % b"/events", HEAD % b"/events/batch"


def sized(head: bytes, body: bytes, length: int | None = None) -> list[bytes]:
    announced = len(body) if length is None else length
    return [head + b"Content-Length: %d\r\n\r\n" % announced, body]


def status_after(port: int, parts: Sequence[bytes]) -> int:
    """Send what is taken of a request; return the status of the answer, 0 if there is none."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        # Who is cut off in the middle finds the answer all the same.
        with suppress(ConnectionResetError, BrokenPipeError):
            for part in parts:
                connection.sendall(part)
        with connection.makefile("rb") as answer:
            return status_of(answer.readline())


def test_bodies_that_are_too_large_or_no_bodies(database_url: str, tmp_path: Path) -> None:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    requests = {
        "at the limit": (202, sized(SINGLE, FULL)),
        "over it": (413, sized(SINGLE, FULL + b" ")),
        "length too short": (400, sized(SINGLE, FULL, len(FULL) // 2)),
        "length too long": (408, sized(SINGLE, EVENT, len(EVENT) + 1)),
        "endless chunks": (
            413,
            [SINGLE + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 50],
        ),
        "endless chunks of a batch": (
            413,
            [BATCH + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 500],
        ),
        "gzip bomb": (413, sized(BATCH + b"Content-Encoding: gzip\r\n", BOMB)),
    }
    service = ServiceProcess(database_url, tmp_path / "service.log")
    with service.running(), ThreadPoolExecutor(4 * len(requests)) as clients:
        idle = service.memory_bytes
        answers = {
            name: [clients.submit(status_after, service.port, parts) for _ in range(4)]
            for name, (_, parts) in requests.items()
        }
        found = {name: {answer.result() for answer in every} for name, every in answers.items()}
        growth = service.memory_bytes - idle
        settle(service)
    print(f"{growth / MIB:+.1f} MiB, {found}")
    assert found == {name: {status} for name, (status, _) in requests.items()}
    assert growth < BODIES_BYTES
