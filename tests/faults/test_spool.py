"""The database is away, and events go to the spool: kept, bounded, replayed once."""

import asyncio
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.support import (
    MIB,
    PATIENCE,
    assert_kept,
    assert_recovers,
    lasting,
    settle,
    slowest,
    statuses,
    watch,
)
from tests.support.disks import fill, small_disk
from tests.support.ledger import Ledger
from tests.support.proxy import Proxy
from tests.support.senders import Habit, Senders
from tests.support.services import ServiceProcess, wait_until_replayed

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

COUNT_SECONDS = 2.0
GROWTH_BYTES = 20 * MIB
BATCHES = (Habit(100), Habit(100, given_ids=True))
KILLS = int(lasting(3, 30))
ADOPT_SECONDS = 10.0


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    """A network before the database."""
    with Proxy(database_url) as proxy:
        yield proxy


async def ready(service: ServiceProcess) -> httpx.Response:
    async with httpx.AsyncClient(base_url=service.base_url, timeout=10) as client:
        return await client.get("/health/ready")


async def slowest_count(service: ServiceProcess) -> float:
    """Return how many seconds a count takes, which must be refused."""
    async with httpx.AsyncClient(base_url=service.base_url, timeout=30) as client:
        answer = await client.get("/analytics/event-counts")
        assert answer.status_code == 503
        return answer.elapsed.total_seconds()


def log_of(service_log: Path, event: str) -> list[dict[str, Any]]:
    """Return the entries of one kind."""
    entries = [json.loads(line) for line in service_log.read_text().splitlines() if line[:1] == "{"]
    return [entry for entry in entries if entry["event"] == event]


def test_while_the_database_is_away_every_event_is_kept(
    database_url: str, proxy: Proxy, tmp_path: Path
) -> None:
    away = lasting(6, 60)

    async def scenario() -> None:
        async with Senders(service.base_url, ledger, habits=BATCHES) as senders:
            await senders.until_accepted(1_000)
            proxy.refuse()
            accepted = ledger.accepted
            answers = await watch(senders, away * 2 / 3)
            before = service.memory_bytes
            counted = await slowest_count(service)
            state = await ready(service)
            answers += await watch(senders, away / 3)
            growth = service.memory_bytes - before
            accepted = ledger.accepted - accepted
            proxy.pass_on()
            await assert_recovers(senders)
        print(
            f"{accepted:,} events accepted in {away} s, slowest answer {slowest(answers):.2f} s, "
            f"a count refused in {counted:.2f} s, {growth / MIB:+.1f} MiB"
        )
        assert statuses(answers) == {202}
        assert state.status_code == 200
        assert state.json()["status"] == "degraded"
        assert state.json()["spool_bytes"] > 0
        assert counted < COUNT_SECONDS * PATIENCE
        assert growth < GROWTH_BYTES

    ledger = Ledger()
    service = ServiceProcess(proxy.url, tmp_path / "service.log")
    with service.running():
        asyncio.run(scenario())
        settle(service)
    assert_kept(f"database away for {away} s", ledger, database_url)


@contextmanager
def two_megabytes(path: Path) -> Iterator[Path]:
    with small_disk(path, "size=2m"):
        yield path


@contextmanager
def small_limit(path: Path) -> Iterator[Path]:
    yield path


@pytest.mark.parametrize(
    ("disk", "limit"), [(two_megabytes, 1 << 30), (small_limit, 1 << 20)], ids=["disk", "limit"]
)
def test_a_full_spool_refuses_and_recovers_alone(
    database_url: str, proxy: Proxy, tmp_path: Path, disk: Any, limit: int
) -> None:
    async def scenario() -> None:
        async with Senders(service.base_url, ledger, habits=BATCHES) as senders:
            await senders.until_accepted(1_000)
            proxy.refuse()
            await senders.until_accepted(1_000)
            async with asyncio.timeout(60):
                while senders.answers[-1].status != 503:  # noqa: ASYNC110 - polled, not announced
                    await asyncio.sleep(0.01)
            full = await watch(senders, 3)
            state = await ready(service)
            proxy.pass_on()
            await assert_recovers(senders)
            await asyncio.to_thread(wait_until_replayed, service.base_url)
        assert 503 in statuses(full)
        assert statuses(senders.answers) == {202, 503}
        assert state.status_code == 503

    ledger = Ledger()
    with disk(tmp_path / "spool") as directory:
        service = ServiceProcess(
            proxy.url,
            tmp_path / "service.log",
            SPOOL_DIRECTORY=str(directory),
            SPOOL_BYTES=str(limit),
        )
        with service.running():
            asyncio.run(scenario())
            settle(service)
    assert_kept("full spool", ledger, database_url)


def test_a_service_starts_on_a_full_disk_and_spools_once_there_is_room(
    database_url: str, proxy: Proxy, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with Senders(service.base_url, ledger, habits=BATCHES) as senders:
            await senders.until_accepted(1_000)
            proxy.refuse()
            async with asyncio.timeout(30):
                while (state := await ready(service)).status_code == 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert "the spool can take no more" in state.json()["detail"]
            for path in ballast:
                path.unlink()
            await senders.until_accepted(1_000)
            proxy.pass_on()
            await assert_recovers(senders)

    ledger = Ledger()
    with small_disk(tmp_path / "spool", "size=8m,nr_inodes=200") as directory:
        ballast = fill(directory)
        service = ServiceProcess(proxy.url, tmp_path / "service.log")
        with service.running():
            asyncio.run(scenario())
            settle(service)
    assert_kept("started on a full disk", ledger, database_url)
    assert "disk is full" in (tmp_path / "service.log").read_text()


async def spool_events(service: ServiceProcess, proxy: Proxy, ledger: Ledger, events: int) -> None:
    """Leave so many events in a spool, whose service is killed in the middle."""
    async with Senders(service.base_url, ledger, habits=BATCHES) as senders:
        await senders.until_accepted(1_000)
        proxy.refuse()
        await senders.until_accepted(events, 120)
        await asyncio.to_thread(service.kill)


def test_a_damaged_spool_loses_what_is_damaged_and_no_more(
    database_url: str, proxy: Proxy, tmp_path: Path
) -> None:
    chance = random.Random(7)
    flips = 5
    ledger = Ledger()
    service = ServiceProcess(proxy.url, tmp_path / "service.log")
    with service.running():
        asyncio.run(spool_events(service, proxy, ledger, 5_000))
        files = sorted((tmp_path / "spool").glob("*/*.events"))
        for _ in range(flips):
            flip_a_bit(chance.choice(files), chance)
        with files[-1].open("r+b") as file:
            file.truncate(files[-1].stat().st_size - 10)
        proxy.pass_on()
        service.start()
        settle(service)
    comparison = ledger.compare(database_url)
    print(f"{flips} bits flipped, one file cut: {comparison}")
    # Each bit costs one event at the most; cutting may have met one that nobody was told of.
    assert 1 <= comparison.lost <= flips + 1
    assert (comparison.doubled, comparison.changed, comparison.strange) == (0, 0, 0)
    assert list((tmp_path / "spool").glob("*/*.damaged"))


def flip_a_bit(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def test_kills_in_the_middle_of_a_replay_store_each_event_once(
    database_url: str, proxy: Proxy, tmp_path: Path
) -> None:
    chance = random.Random(8)
    log = tmp_path / "service.log"
    ledger = Ledger()
    service = ServiceProcess(proxy.url, log, LOG_FORMAT="json")
    with service.running():
        asyncio.run(spool_events(service, proxy, ledger, 20_000))
        proxy.pass_on()
        for _ in range(KILLS):
            service.start()
            asyncio.run(asyncio.sleep(chance.uniform(0, 1.5)))
            service.kill()
        service.start()
        settle(service)
    again = sum(entry["stored_already"] for entry in log_of(log, "replayed"))
    assert_kept(f"{KILLS} kills during replay, {again:,} replayed again", ledger, database_url)
    assert again > 0, "no kill met a replay"


def test_a_spool_whose_instance_died_is_adopted_by_another(
    database_url: str, proxy: Proxy, tmp_path: Path
) -> None:
    async def scenario() -> None:
        both = [one.base_url, other.base_url]
        async with Senders(both, ledger) as senders:
            await senders.until_accepted(200)
            proxy.refuse()
            await senders.until_accepted(500)
            await asyncio.to_thread(one.kill)
            await senders.until_accepted(200)
            proxy.pass_on()
            await assert_recovers(senders)

    ledger = Ledger()
    one = ServiceProcess(proxy.url, tmp_path / "one.log")
    other = ServiceProcess(proxy.url, tmp_path / "other.log", LOG_FORMAT="json")
    with one.running(), other.running():
        asyncio.run(scenario())
        wait_for_adoption(tmp_path / "other.log")
        settle(other)
    assert_kept("two instances, one spool directory, one killed", ledger, database_url)


def wait_for_adoption(log: Path) -> None:
    async def adopted() -> None:
        async with asyncio.timeout(ADOPT_SECONDS * PATIENCE):
            while not log_of(log, "spools adopted"):  # noqa: ASYNC110 - polled, not announced
                await asyncio.sleep(0.1)

    asyncio.run(adopted())
