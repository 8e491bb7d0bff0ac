"""SIGTERM under load: what is in flight is answered, and the service ends in time."""

import asyncio
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.support import PATIENCE, kept_promise

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
