"""The network between the service and the database: slow, a black hole, cut around a COMMIT."""

import asyncio
import json
import re
from pathlib import Path

import pytest

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
from tests.support.proxy import COMMIT, COMMITTED, Proxy

pytestmark = pytest.mark.fault

DELAY_SECONDS = 0.2
CUTS = int(lasting(5, 50))


def flushes(log: Path) -> list[int]:
    """Return how many events each flush held, by the log."""
    lines = [line for line in log.read_text().splitlines() if line.startswith("{")]
    entries = [json.loads(line) for line in lines]
    return [entry["events"] for entry in entries if entry["event"] == "flush"]


def test_a_slow_network_and_then_a_black_hole(
    database_url: str, proxy: Proxy, tmp_path: Path
) -> None:
    hole = lasting(8, 30)
    log = tmp_path / "service.log"

    async def scenario() -> None:
        async with trial.senders() as senders:
            await senders.until_accepted(50)
            before = len(flushes(log))
            proxy.delay_seconds = DELAY_SECONDS
            await asyncio.sleep(4)
            largest = max(flushes(log)[before:])
            proxy.hold()
            answers = await watch(senders, hole)
            proxy.delay_seconds = 0
            proxy.pass_on()
            await assert_recovers(senders)
        print(f"groups of up to {largest}; slowest answer in the hole {slowest(answers):.2f} s")
        # Four senders in eight post 20 events, and nothing is answered while a group is written.
        assert largest > 40, "batches don't grow with the latency"
        assert slowest(answers) < ANSWER_SECONDS * PATIENCE
        assert statuses(answers) <= {202, 503}

    with kept_promise(
        f"{DELAY_SECONDS} s each way, then nothing for {hole} s",
        database_url,
        tmp_path,
        proxy=proxy,
        LOG_FORMAT="json",
    ) as trial:
        asyncio.run(scenario())


@pytest.mark.parametrize("at", [COMMIT, COMMITTED], ids=["at COMMIT", "before its answer"])
def test_connections_cut_around_a_commit(
    database_url: str, proxy: Proxy, tmp_path: Path, at: re.Pattern[bytes]
) -> None:
    async def scenario() -> None:
        async with trial.senders() as senders:
            for cut in range(CUTS):
                await senders.until_accepted(50)
                proxy.cut_at(at)
                async with asyncio.timeout(30):
                    while proxy.cuts == cut:  # noqa: ASYNC110 - polled, not announced
                        await asyncio.sleep(0.01)
            await assert_recovers(senders)
        assert statuses(senders.answers) == {202}

    with kept_promise(
        f"cut {CUTS} times around a COMMIT", database_url, tmp_path, proxy=proxy
    ) as trial:
        asyncio.run(scenario())
    assert trial.comparison.unknown == 0
