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
from tests.faults.support import Trial, assert_recovers, kept_promise

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

KILLS = int(os.environ.get("KILLS", "6"))
"""Of the service, and as many of the database."""

LATEST_KILL_SECONDS = 0.8


async def kill_under_load(trial: Trial, kill: Callable[[], None]) -> None:
    """Send, and kill at random moments; each time it must be accepting events again."""
    moments = random.Random(9)
    async with trial.senders() as senders:
        for _ in range(KILLS):
            await asyncio.sleep(moments.uniform(0, LATEST_KILL_SECONDS))
            await asyncio.to_thread(kill)
            await assert_recovers(senders)


def test_killing_the_service_loses_nothing_that_was_accepted(
    database_url: str, tmp_path: Path
) -> None:
    with kept_promise(f"{KILLS} kills", database_url, tmp_path) as trial:
        asyncio.run(kill_under_load(trial, trial.service.kill_and_restart))
    assert trial.comparison.unknown > 0, "no kill met a request in flight"


def test_killing_the_database_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    with EmbeddedDatabase(tmp_path / "data", log=print) as database:

        def kill() -> None:
            # With a spool events are accepted before it has been started again.
            with psycopg.connect(database.url, autocommit=True) as connection:
                connection.execute("select 1")
                os.kill(database.pid, signal.SIGKILL)

        with kept_promise(f"{KILLS} kills of the database", database.url, tmp_path) as trial:
            asyncio.run(kill_under_load(trial, kill))
