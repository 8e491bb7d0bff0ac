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
from tests.faults.support import assert_kept, assert_recovers, settle
from tests.support.ledger import Comparison, Ledger
from tests.support.senders import Senders
from tests.support.services import ServiceProcess

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

KILLS = int(os.environ.get("KILLS", "6"))
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
            await asyncio.sleep(moments.uniform(0, LATEST_KILL_SECONDS))
            await asyncio.to_thread(kill)
            await assert_recovers(senders)
    await asyncio.to_thread(settle, service)
    return assert_kept(f"{KILLS} kills", ledger, database_url)


def test_killing_the_service_loses_nothing_that_was_accepted(
    database_url: str, tmp_path: Path
) -> None:
    service = ServiceProcess(database_url, tmp_path / "service.log")
    with service.running():
        comparison = asyncio.run(kill_under_load(service, database_url, service.kill_and_restart))
    assert comparison.unknown > 0, "no kill met a request in flight"


def test_killing_the_database_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    with EmbeddedDatabase(tmp_path / "data", log=print) as database:

        def kill() -> None:
            # With a spool events are accepted before it has been started again.
            with psycopg.connect(database.url, autocommit=True) as connection:
                connection.execute("select 1")
                os.kill(database.pid, signal.SIGKILL)

        service = ServiceProcess(database.url, tmp_path / "service.log")
        with service.running():
            asyncio.run(kill_under_load(service, database.url, kill))
