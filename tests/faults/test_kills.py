"""kill -9 of the service and of the database, at random moments, under 32 senders."""

import asyncio
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from service.database.embedded import EmbeddedDatabase
from tests.faults.support import assert_kept
from tests.support.ledger import Comparison, Ledger
from tests.support.senders import Senders
from tests.support.services import ServiceProcess

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

KILLS = int(os.environ.get("KILLS", "10"))
"""Of the service, and as many of the database."""

LATEST_KILL_SECONDS = 0.8


async def kill_under_load(
    service: ServiceProcess, database_url: str, kill: Callable[[], None], *, batch: int
) -> Comparison:
    """Send, kill at random moments, and compare; each time it must be accepting events again."""
    ledger = Ledger()
    moments = random.Random(9)
    async with Senders(service.base_url, ledger, batch=batch, given_ids=batch > 1) as senders:
        for _ in range(KILLS):
            await senders.until_accepted(50)
            await asyncio.sleep(moments.uniform(0, LATEST_KILL_SECONDS))
            await asyncio.to_thread(kill)
        await senders.until_accepted(50)
    await asyncio.to_thread(service.terminate)
    return assert_kept(f"{KILLS} kills, {batch} events a request", ledger, database_url)


@pytest.mark.parametrize("batch", [1, 20])
def test_killing_the_service_loses_nothing_that_was_accepted(
    database_url: str, tmp_path: Path, batch: int
) -> None:
    service = ServiceProcess(database_url, tmp_path / "service.log")
    with service.running():
        comparison = asyncio.run(
            kill_under_load(service, database_url, service.kill_and_restart, batch=batch)
        )
    # What is sent again until it is accepted has no unknown outcome in the end.
    assert comparison.unknown > 0 or batch > 1, "no kill met a request in flight"


@pytest.mark.parametrize("batch", [1, 20])
def test_killing_the_database_loses_nothing_that_was_accepted(tmp_path: Path, batch: int) -> None:
    with EmbeddedDatabase(tmp_path / "data") as database:

        def kill() -> None:
            os.kill(database.pid, signal.SIGKILL)

        service = ServiceProcess(database.url, tmp_path / "service.log")
        with service.running():
            asyncio.run(kill_under_load(service, database.url, kill, batch=batch))
