"""The database is away, without a spool: plain refusals, and nothing but them."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.faults.support import (
    MIB,
    PATIENCE,
    assert_recovers,
    kept_promise,
    lasting,
    slowest,
    statuses,
    watch,
)
from tests.support.proxy import Proxy
from tests.support.senders import Habit

pytestmark = pytest.mark.fault

GROWTH_BYTES = 20 * MIB
REFUSAL_SECONDS = 2.0


def test_without_a_spool_every_answer_is_503_and_memory_stays_flat(
    database_url: str, proxy: Proxy, tmp_path: Path
) -> None:
    away = lasting(12, 60)

    async def scenario() -> None:
        async with trial.senders(habits=[Habit(100)]) as senders:
            await senders.until_accepted(1_000)
            proxy.refuse()
            await asyncio.sleep(away / 3)
            before = trial.service.memory_bytes
            answers = await watch(senders, away * 2 / 3)
            growth = trial.service.memory_bytes - before
            proxy.pass_on()
            await assert_recovers(senders)
        print(f"{len(answers)} answers, slowest {slowest(answers):.2f} s, {growth / MIB:+.1f} MiB")
        assert statuses(answers) == {503}
        assert slowest(answers) < REFUSAL_SECONDS * PATIENCE
        assert growth < GROWTH_BYTES

    with kept_promise(
        f"database away for {away} s, no spool",
        database_url,
        tmp_path,
        proxy=proxy,
        SPOOL_BYTES="0",
    ) as trial:
        asyncio.run(scenario())


def test_short_outages_at_random_moments_lose_nothing(
    database_url: str, proxy: Proxy, tmp_path: Path
) -> None:
    chance = random.Random(3)

    async def scenario() -> None:
        async with trial.senders() as senders:
            for _ in range(int(lasting(4, 20))):
                await senders.until_accepted(50)
                await asyncio.sleep(chance.uniform(0, 0.5))
                proxy.refuse()
                await asyncio.sleep(2)
                proxy.pass_on()
                await assert_recovers(senders)

    with kept_promise("outages of 2 s", database_url, tmp_path, proxy=proxy) as trial:
        asyncio.run(scenario())
