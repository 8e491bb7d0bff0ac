"""Other sessions of the database in the way: locks, slow counts, terminated connections."""

import asyncio
import time
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import sql

from tests.faults.support import (
    ANSWER_SECONDS,
    PATIENCE,
    assert_recovers,
    kept_promise,
    lasting,
    slowest,
    statuses,
    watch,
)
from tests.support.databases import blocked_table

pytestmark = [pytest.mark.fault, pytest.mark.native]

OURS = "datname = current_database() and application_name = 'tallymark'"
MATERIALIZED = """
select materialization_hypertable_schema, materialization_hypertable_name
from timescaledb_information.continuous_aggregates where view_name = 'event_counts_minute'
"""
HARDLY_ANY = 0.01
COUNTS = 8


def test_a_locked_table_piles_nothing_up(database_url: str, tmp_path: Path) -> None:
    seconds = lasting(8, 30)

    async def scenario() -> None:
        async with trial.senders() as senders:
            await senders.until_accepted(200)
            with blocked_table(database_url, native=True):
                answers = await watch(senders, seconds)
                with psycopg.connect(database_url) as connection:
                    query = f"select count(*) from pg_stat_activity where {OURS}"
                    (connections,) = connection.execute(query).fetchone() or (0,)
            await assert_recovers(senders)
        print(f"slowest answer {slowest(answers):.2f} s, {connections} connections")
        assert slowest(answers) < ANSWER_SECONDS * PATIENCE
        assert statuses(answers) <= {202, 503}
        # One to write and one given up, four to read, two to export, one to report.
        assert connections < 10

    with kept_promise(f"events locked for {seconds} s", database_url, tmp_path) as trial:
        asyncio.run(scenario())


def test_slow_counts_do_not_hold_ingest_up(database_url: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            httpx.AsyncClient(base_url=trial.service.base_url, timeout=60) as client,
            trial.senders() as senders,
        ):
            with psycopg.connect(database_url) as other:
                name = other.execute(MATERIALIZED).fetchone() or ()
                other.execute(sql.SQL("lock table {}").format(sql.Identifier(*name)))
                counts = [
                    asyncio.create_task(client.get("/analytics/event-counts"))
                    for _ in range(COUNTS)
                ]
                await asyncio.sleep(0.5)
                await senders.until_accepted(300)
                waiting = sum(not count.done() for count in counts)
            answers = await asyncio.gather(*counts)
        print(f"300 events accepted while {waiting} counts waited")
        assert waiting > 0, "no count was slow"
        assert statuses(senders.answers) == {202}
        assert {answer.status_code for answer in answers} <= {200, 503}

    with kept_promise(f"{COUNTS} slow counts", database_url, tmp_path) as trial:
        asyncio.run(scenario())


def test_terminated_connections_are_not_the_senders_concern(
    database_url: str, tmp_path: Path
) -> None:
    times = int(lasting(8, 30))

    async def scenario() -> None:
        async with trial.senders() as senders:
            await senders.until_accepted(50)
            for _ in range(times):
                started = time.monotonic()
                with psycopg.connect(database_url) as other:
                    query = f"select pg_terminate_backend(pid) from pg_stat_activity where {OURS}"
                    assert other.execute(query).rowcount > 0
                await asyncio.sleep(1 - (time.monotonic() - started))
        refused = sum(answer.status != 202 for answer in senders.answers)
        print(f"{refused} of {len(senders.answers)} requests were not answered 202")
        assert statuses(senders.answers) <= {202, 503}
        assert refused <= HARDLY_ANY * len(senders.answers)

    with kept_promise(f"connections terminated {times} times", database_url, tmp_path) as trial:
        asyncio.run(scenario())
