"""kill -9 of the service and of the database, at random moments, under 32 senders."""

import asyncio
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from service.database.embedded import EmbeddedDatabase
from tests.support.ledger import Comparison, Ledger, Senders
from tests.support.services import ServiceProcess, wait_until_replayed

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

KILLS = int(os.environ.get("KILLS", "10"))
"""Of the service, and as many of the database."""

LATEST_KILL_SECONDS = 0.8


async def kill_under_load(
    service: ServiceProcess, database_url: str, kill: Callable[[], None]
) -> Comparison:
    """Send, kill at random moments, and compare; each time it must be accepting events again."""
    ledger = Ledger()
    moments = random.Random(9)
    async with Senders(service.base_url, ledger) as senders:
        for _ in range(KILLS):
            await senders.until_accepted(50)
            await asyncio.sleep(moments.uniform(0, LATEST_KILL_SECONDS))
            await asyncio.to_thread(kill)
        await senders.until_accepted(50)
    wait_until_replayed(service.base_url)
    comparison = ledger.compare(database_url)
    print(f"{KILLS} kills: {comparison}")
    return comparison


def test_killing_the_service_loses_nothing_that_was_accepted(
    database_url: str, tmp_path: Path
) -> None:
    service = ServiceProcess(database_url, tmp_path / "service.log")

    def kill_and_restart() -> None:
        service.kill()
        service.start()

    service.start()
    try:
        comparison = asyncio.run(kill_under_load(service, database_url, kill_and_restart))
    finally:
        service.kill()
    assert comparison.promise_holds, comparison
    assert comparison.unknown > 0, "no kill met a request in flight"


def kill_once_it_runs(database: EmbeddedDatabase) -> None:
    """Kill the server, once it has been started again after the last time."""
    with psycopg.connect(database.url, connect_timeout=30):
        os.kill(database.pid, signal.SIGKILL)


def test_killing_the_database_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    with EmbeddedDatabase(tmp_path / "data") as database:
        service = ServiceProcess(database.url, tmp_path / "service.log")
        service.start()
        try:
            comparison = asyncio.run(
                kill_under_load(service, database.url, lambda: kill_once_it_runs(database))
            )
        finally:
            service.kill()
    assert comparison.promise_holds, comparison


def test_sigterm_answers_what_is_in_flight(database_url: str, tmp_path: Path) -> None:
    async def scenario() -> int:
        async with Senders(service.base_url, ledger) as senders:
            await senders.until_accepted(200)
            return await asyncio.to_thread(service.terminate)

    ledger = Ledger()
    service = ServiceProcess(database_url, tmp_path / "service.log")
    service.start()
    assert asyncio.run(scenario()) == 0
    comparison = ledger.compare(database_url)
    print(f"SIGTERM: {comparison}")
    assert comparison.promise_holds, comparison
    assert comparison.stored == comparison.accepted, "something was stored and not answered"
