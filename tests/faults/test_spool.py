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

from service.database.migrations import migrate
from tests.faults.support import (
    MIB,
    PATIENCE,
    Trial,
    assert_kept,
    assert_recovers,
    kept_promise,
    lasting,
    settle,
    slowest,
    statuses,
    watch,
)
from tests.support.databases import new_database
from tests.support.disks import fill, small_disk
from tests.support.ledger import Ledger
from tests.support.metrics import scrape
from tests.support.proxy import Proxy
from tests.support.senders import Habit, Senders
from tests.support.services import ServiceProcess, wait_until_replayed

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

COUNT_SECONDS = 2.0
GROWTH_BYTES = 20 * MIB
BATCHES = (Habit(100), Habit(100, given_ids=True))
KILLS = int(lasting(3, 30))
ADOPT_SECONDS = 10.0


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
        async with trial.senders(habits=BATCHES) as senders:
            await senders.until_accepted(1_000)
            proxy.refuse()
            accepted = trial.ledger.accepted
            answers = await watch(senders, away * 2 / 3)
            before = trial.service.memory_bytes
            counted = await slowest_count(trial.service)
            state = await ready(trial.service)
            answers += await watch(senders, away / 3)
            growth = trial.service.memory_bytes - before
            accepted = trial.ledger.accepted - accepted
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

    with kept_promise(f"database away for {away} s", database_url, tmp_path, proxy=proxy) as trial:
        asyncio.run(scenario())


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
        async with trial.senders(habits=BATCHES) as senders:
            await senders.until_accepted(1_000)
            proxy.refuse()
            await senders.until_accepted(1_000)
            async with asyncio.timeout(60):
                while senders.answers[-1].status != 503:  # noqa: ASYNC110 - polled, not announced
                    await asyncio.sleep(0.01)
            full = await watch(senders, 3)
            state = await ready(trial.service)
            proxy.pass_on()
            await assert_recovers(senders)
            await asyncio.to_thread(wait_until_replayed, trial.service.base_url)
        assert 503 in statuses(full)
        assert statuses(senders.answers) == {202, 503}
        assert state.status_code == 503

    options: dict[str, Any] = {"proxy": proxy, "SPOOL_BYTES": str(limit)}
    with (
        disk(tmp_path / "spool"),
        kept_promise("full spool", database_url, tmp_path, **options) as trial,
    ):
        asyncio.run(scenario())


def test_a_service_starts_on_a_full_disk_and_spools_once_there_is_room(
    database_url: str, proxy: Proxy, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with trial.senders(habits=BATCHES) as senders:
            await senders.until_accepted(1_000)
            proxy.refuse()
            async with asyncio.timeout(30):
                while (state := await ready(trial.service)).status_code == 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert "the spool can take no more" in state.json()["detail"]
            for path in ballast:
                path.unlink()
            await senders.until_accepted(1_000)
            proxy.pass_on()
            await assert_recovers(senders)

    with small_disk(tmp_path / "spool", "size=8m,nr_inodes=200") as directory:
        ballast = fill(directory)
        with kept_promise("started on a full disk", database_url, tmp_path, proxy=proxy) as trial:
            asyncio.run(scenario())
    assert "disk is full" in (tmp_path / "service.log").read_text()


async def spool_events(trial: Trial, proxy: Proxy, events: int) -> None:
    """Leave so many events in a spool, whose service is killed in the middle."""
    async with trial.senders(habits=BATCHES) as senders:
        await senders.until_accepted(1_000)
        proxy.refuse()
        await senders.until_accepted(events, 120)
        await asyncio.to_thread(trial.service.kill)


def test_a_damaged_spool_loses_what_is_damaged_and_no_more(
    database_url: str, proxy: Proxy, tmp_path: Path
) -> None:
    chance = random.Random(7)
    flips = 5
    trial = Trial(ServiceProcess(proxy.url, tmp_path / "service.log"))
    with trial.service.running():
        asyncio.run(spool_events(trial, proxy, 5_000))
        files = sorted((tmp_path / "spool").glob("*/*.events"))
        for _ in range(flips):
            flip_a_bit(chance.choice(files), chance)
        with files[-1].open("r+b") as file:
            file.truncate(files[-1].stat().st_size - 10)
        proxy.pass_on()
        trial.service.start()
        settle(trial.service)
    comparison = trial.ledger.compare(database_url)
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
    what = f"{KILLS} kills during replay"
    with kept_promise(what, database_url, tmp_path, proxy=proxy, LOG_FORMAT="json") as trial:
        asyncio.run(spool_events(trial, proxy, 20_000))
        proxy.pass_on()
        for _ in range(KILLS):
            trial.service.start()
            asyncio.run(asyncio.sleep(chance.uniform(0, 1.5)))
            trial.service.kill()
        trial.service.start()
    entries = log_of(tmp_path / "service.log", "replayed")
    again = sum(entry["stored_already"] for entry in entries)
    print(f"{again:,} events replayed again")
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


@pytest.mark.native(reason="there is one database")
def test_services_of_two_databases_may_share_a_directory(
    server_url: str, database_url: str, proxy: Proxy, tmp_path: Path
) -> None:
    """As when DATABASE_URL is changed, or copied: what was spooled waits for its own database."""
    with new_database(server_url) as other_url:
        migrate(other_url)
        with kept_promise(
            "one directory, database one", database_url, tmp_path, proxy=proxy
        ) as one:
            asyncio.run(spool_events(one, proxy, 2_000))
            (tmp_path / "other").mkdir()
            with kept_promise(
                "the same directory, database two",
                other_url,
                tmp_path / "other",
                SPOOL_DIRECTORY=str(tmp_path / "spool"),
            ) as two:
                asyncio.run(accept(two, 500))
                metrics = scrape(two.service.base_url)
                assert metrics.value("tallymark_spool_foreign_folders") == 1
            assert list((tmp_path / "spool").glob("*/*.events"))
            proxy.pass_on()
            one.service.start()
    assert two.comparison.strange == 0
    told = (tmp_path / "other" / "service.log").read_text()
    assert told.count("spools of another database are left alone") == 1


async def accept(trial: Trial, events: int) -> None:
    async with trial.senders() as senders:
        await senders.until_accepted(events)


def wait_for_adoption(log: Path) -> None:
    async def adopted() -> None:
        async with asyncio.timeout(ADOPT_SECONDS * PATIENCE):
            while not log_of(log, "spools adopted"):  # noqa: ASYNC110 - polled, not announced
                await asyncio.sleep(0.1)

    asyncio.run(adopted())
