"""The harness sees what it is for: services that break the promise, each in one way."""

import asyncio
from pathlib import Path
from typing import get_args

import pytest

from tests.faults.control import Lie, create_app
from tests.support.ledger import Ledger
from tests.support.senders import Habit, Senders
from tests.support.services import ServiceProcess, serving

pytestmark = pytest.mark.fault

KILLS = 3


class ForgetfulService(ServiceProcess):
    """Acknowledges from memory."""

    command = ("-m", "tests.faults.control")


def test_a_service_that_acknowledges_from_memory_is_seen_to_lose_events(
    database_url: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with Senders(service.base_url, ledger, habits=[Habit()]) as senders:
            for _ in range(KILLS):
                await senders.until_accepted(100)
                await asyncio.to_thread(service.kill_and_restart)

    ledger = Ledger()
    service = ForgetfulService(database_url, tmp_path / "service.log")
    with service.running():
        asyncio.run(scenario())
    comparison = ledger.compare(database_url)
    print(f"acknowledged from memory, {KILLS} kills: {comparison}")
    assert comparison.lost > 0
    assert not comparison.promise_holds


@pytest.mark.parametrize("lie", [lie for lie in get_args(Lie) if lie != "memory"])
def test_every_other_breach_is_seen(database_url: str, lie: Lie) -> None:
    async def scenario(base_url: str) -> None:
        async with Senders(base_url, ledger, count=2, habits=[Habit()]):
            while len(ledger.fates) < 10:  # noqa: ASYNC110 - polled, not announced
                await asyncio.sleep(0.01)

    ledger = Ledger()
    with serving(create_app(database_url, lie)) as base_url:
        asyncio.run(scenario(base_url))
    comparison = ledger.compare(database_url)
    print(f"{lie}: {comparison}")
    assert getattr(comparison, lie)
    assert not comparison.promise_holds
