"""What the writer puts into the spool is stored by the replay, once, whatever is wrong with it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from service.database.retention import refresh_beside
from service.events import Event
from service.ingest import replay
from service.ingest.minutes import Minutes
from service.ingest.replay import Replay
from service.ingest.spool import Spool
from service.ingest.store import Store
from service.ingest.waiting import Kept
from service.ingest.writer import PROBE_SECONDS, Writer
from tests.counting.counts import stop_jobs
from tests.ingest.test_sums import database_errors
from tests.ingest.test_writer import REFUSED_PAYLOAD, ids, stored_ids
from tests.support.events import make_event, numbered_event
from tests.support.proxy import Proxy

LIMIT = 10_000_000


@asynccontextmanager
async def spooling(
    url: str, directory: Path, *, deadline_seconds: float = 4.0, replay_seconds: float = 5.0
) -> AsyncIterator[tuple[Writer, Spool]]:
    """Yield a writer with a spool, which is replayed, each statement within so many seconds."""
    spool = Spool(directory, limit_bytes=LIMIT)
    writer = Writer(
        Store(url, deadline_seconds=deadline_seconds),
        Minutes(),
        spool,
        groups=2,
        queue_events=10_000,
        queue_bytes=10_000_000,
        deadline_seconds=deadline_seconds,
    )

    async def refresh(start: datetime, end: datetime) -> None:
        await refresh_beside(url, start, end)

    store = Store(url, deadline_seconds=replay_seconds)
    replayed = Replay(spool, store, known=writer, minutes=Minutes(), refresh=refresh)
    async with spool, replayed, writer:
        yield writer, spool


async def emptied(spool: Spool) -> None:
    """Return once nothing is left."""
    async with asyncio.timeout(30):
        while spool.bytes:  # noqa: ASYNC110 - polled, not announced
            await asyncio.sleep(0.02)


async def leave(directory: Path, events: Sequence[Event]) -> None:
    """Put events into the spool, as a worker that has ended."""
    async with Spool(directory, limit_bytes=LIMIT) as left:
        for start in range(0, len(events), 500):
            await left.append(events[start : start + 500])


async def spool_and_replay(url: str, directory: Path, events: Sequence[Event]) -> None:
    """Put events into the spool, as another worker did, and let them be replayed."""
    await leave(directory, events)
    async with spooling(url, directory) as (_, spool):
        await emptied(spool)


def set_aside_ids(url: str) -> list[bytes]:
    """Return the ids of the events that were refused, sorted."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute("select event_id from rejected_events order by 1").fetchall()
    return [event_id.bytes for (event_id,) in rows]


def test_without_its_table_the_database_is_away_and_events_are_kept(
    database_url: str, tmp_path: Path
) -> None:
    """A defect of ours, or of an operator's: nothing is refused for it."""

    async def scenario() -> None:
        async with spooling(database_url, tmp_path) as (writer, spool):
            with psycopg.connect(database_url, autocommit=True) as other:
                other.execute("alter table events rename to elsewhere")
                kept = await asyncio.gather(*(writer.keep([event]) for event in events))
                assert kept == [Kept()] * len(events)
                assert "does not exist" in (writer.away or "")
                assert spool.bytes > 0
                other.execute("alter table elsewhere rename to events")
            await emptied(spool)

    events = [numbered_event() for _ in range(10)]
    asyncio.run(scenario())
    assert stored_ids(database_url) == ids(events)


def test_a_database_that_was_replaced_during_an_outage_gets_what_is_spooled_for_it(
    database_url: str, tmp_path: Path
) -> None:
    """Nothing was spooled when it was replaced, so that nothing asked which one it is."""

    async def scenario() -> None:
        async with spooling(proxy.url, tmp_path) as (writer, spool):
            await writer.keep([events[0]])
            await marked(tmp_path, identity())
            outages = writer.outages
            with psycopg.connect(database_url) as other:
                other.execute("update database_identity set id = gen_random_uuid()")
            proxy.refuse()
            async with asyncio.timeout(30):
                while writer.outages == outages:  # noqa: ASYNC110 - polled, not announced
                    await asyncio.sleep(0.02)
            proxy.pass_on()
            await marked(tmp_path, identity())
            proxy.refuse()
            for event in events[1:]:
                await writer.keep([event])
            assert spool.bytes > 0
            proxy.pass_on()
            await emptied(spool)
            assert spool.foreign == 0

    def identity() -> str:
        with psycopg.connect(database_url) as connection:
            row = connection.execute("select id::text from database_identity").fetchone()
        assert row is not None
        return str(row[0])

    events = [numbered_event() for _ in range(5)]
    with Proxy(database_url) as proxy:
        asyncio.run(scenario())
    assert stored_ids(database_url) == ids(events)


async def marked(directory: Path, identity: str) -> None:
    """Return once a folder is for this database, and none for another one."""
    async with asyncio.timeout(30):
        while {path.read_text() for path in directory.glob("*/database")} != {identity}:  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.02)


def test_a_refused_event_of_the_spool_is_set_aside(database_url: str, tmp_path: Path) -> None:
    good, bad = [numbered_event() for _ in range(50)], make_event(payload=REFUSED_PAYLOAD)
    asyncio.run(spool_and_replay(database_url, tmp_path, [*good[:20], bad, *good[20:]]))
    assert stored_ids(database_url) == ids(good)
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("select event_id, sqlstate from rejected_events").fetchall()
    assert [(event_id.bytes, sqlstate) for event_id, sqlstate in rows] == [(bad.event_id, "22P05")]


def test_events_older_than_what_is_kept_are_set_aside(database_url: str, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    new, old = make_event(now), make_event(now - timedelta(days=20))
    with psycopg.connect(database_url, autocommit=True) as connection:
        border = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=10)
        connection.execute("update retention set retained_from = %s", [border])
    asyncio.run(spool_and_replay(database_url, tmp_path, [old, new]))
    assert stored_ids(database_url) == ids([new])
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("select event_id, reason from rejected_events").fetchall()
    assert [event_id.bytes for event_id, _ in rows] == [old.event_id]
    assert "older than what is kept" in rows[0][1]


def test_damage_is_set_aside_and_the_rest_is_stored(database_url: str, tmp_path: Path) -> None:
    async def leave_damaged() -> None:
        async with Spool(tmp_path, limit_bytes=LIMIT) as left:
            await left.append(events)
            (path,) = await left.segments()
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)

    async def replay_damaged() -> None:
        async with spooling(database_url, tmp_path) as (_, spool):
            await emptied(spool)

    events = [numbered_event() for _ in range(101)]
    asyncio.run(leave_damaged())
    asyncio.run(replay_damaged())
    assert len(stored_ids(database_url)) == 100
    assert set(stored_ids(database_url)) < set(ids(events))
    assert len(list(tmp_path.glob("*/*.damaged"))) == 1


@pytest.mark.parametrize("left", [b"\xf5\x0aTM1\0\0", b"\0" * 1000, b"x"])
def test_a_segment_without_a_whole_event_stops_no_other(
    database_url: str, tmp_path: Path, left: bytes
) -> None:
    events = [numbered_event() for _ in range(10)]
    asyncio.run(leave(tmp_path, events))
    (folder,) = tmp_path.iterdir()
    (folder / "00000000000000000001.events").write_bytes(left)

    async def replay_all() -> None:
        async with spooling(database_url, tmp_path) as (_, spool):
            await emptied(spool)

    asyncio.run(replay_all())
    assert stored_ids(database_url) == ids(events)
    assert [path.name for path in folder.glob("*.damaged")] == ["00000000000000000001.damaged"]


def test_what_is_replayed_is_in_the_aggregates(database_url: str, tmp_path: Path) -> None:
    """It need not wait for a policy, whatever its time."""

    async def scenario() -> None:
        await leave(tmp_path, events)
        with psycopg.connect(database_url, autocommit=True) as connection:
            stop_jobs(connection)
            async with spooling(database_url, tmp_path), asyncio.timeout(30):
                while connection.execute(counted).fetchone() != (300,):  # noqa: ASYNC110 - polled
                    await asyncio.sleep(0.05)

    counted = "select sum(event_count)::integer from event_counts_minute"
    at = datetime.now(UTC) - timedelta(hours=30)
    events = [make_event(at + timedelta(minutes=n)) for n in range(300)]
    asyncio.run(scenario())


def test_a_replay_that_is_stopped_at_any_point_stores_each_event_once(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def replay_until(stored: int) -> None:
        async with spooling(database_url, tmp_path) as (_, spool), asyncio.timeout(30):
            while spool.bytes and len(stored_ids(database_url)) < stored:  # noqa: ASYNC110 - polled
                await asyncio.sleep(0.01)

    events = [numbered_event() for _ in range(4000)]
    monkeypatch.setattr(replay, "BATCH_EVENTS", 100)
    asyncio.run(leave(tmp_path, events))
    asyncio.run(replay_until(1))
    assert len(stored_ids(database_url)) < len(events)
    assert any(tmp_path.glob("*/*.events"))
    for stored in range(500, 4001, 500):
        asyncio.run(replay_until(stored))
    assert stored_ids(database_url) == ids(events)


@pytest.mark.parametrize("silent_before", [0, PROBE_SECONDS / 2, PROBE_SECONDS])
@pytest.mark.parametrize("deadline_seconds", [2.0, 5.0])
def test_events_are_spooled_in_time_when_the_database_falls_silent(
    database_url: str, tmp_path: Path, deadline_seconds: float, silent_before: float
) -> None:
    """Whenever they arrive: while it is probed, while a group is written, and after that."""

    async def scenario() -> None:
        async with spooling(proxy.url, tmp_path, deadline_seconds=deadline_seconds) as (
            writer,
            spool,
        ):
            assert await writer.keep([events[0]]) == Kept()
            await asyncio.sleep(PROBE_SECONDS / 2)
            proxy.hold()
            await asyncio.sleep(silent_before)
            sent = []
            for event in events[1:]:
                sent.append(asyncio.create_task(writer.keep([event])))
                await asyncio.sleep(deadline_seconds / 20)
            assert await asyncio.gather(*sent) == [Kept()] * len(sent)
            proxy.pass_on()
            await emptied(spool)

    events = [numbered_event() for _ in range(21)]
    with Proxy(database_url) as proxy:
        asyncio.run(scenario())
    assert stored_ids(database_url) == ids(events)


def test_an_old_event_is_no_error_of_the_database(database_url: str, tmp_path: Path) -> None:
    """Nor is one that becomes too old while its segment is replayed stored."""

    async def scenario() -> None:
        await leave(tmp_path, [*many, old])
        async with spooling(database_url, tmp_path) as (_, spool):
            async with asyncio.timeout(30):
                while not stored_ids(database_url):  # noqa: ASYNC110 - polled, not announced
                    await asyncio.sleep(0.005)
            with psycopg.connect(database_url, autocommit=True) as connection:
                connection.execute("update retention set retained_from = %s", [border])
            await emptied(spool)

    now = datetime.now(UTC)
    border = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=10)
    many, old = [make_event(now) for _ in range(4000)], make_event(now - timedelta(days=20))
    before = [database_errors("refused"), database_errors("defect")]
    asyncio.run(scenario())
    assert stored_ids(database_url) == ids(many)
    assert [database_errors("refused"), database_errors("defect")] == before


def test_what_was_spooled_for_another_database_waits_for_it(
    database_url: str, tmp_path: Path
) -> None:
    """The directory is the same, the database is not: a changed DATABASE_URL, say."""

    async def spool_some() -> None:
        async with spooling(database_url, tmp_path) as (writer, spool):
            with psycopg.connect(database_url, autocommit=True) as connection:
                connection.execute("alter table events rename to elsewhere")
                await writer.keep(theirs)
                assert spool.bytes > 0

    async def serve_for(seconds: float) -> None:
        async with spooling(database_url, tmp_path) as (writer, _):
            await writer.keep([own])
            await asyncio.sleep(seconds)

    async def end() -> None:
        async with spooling(database_url, tmp_path) as (_, spool):
            await emptied(spool)

    theirs, own = [numbered_event() for _ in range(5)], numbered_event()
    asyncio.run(spool_some())
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("alter table elsewhere rename to events")
        (before,) = connection.execute("select id from database_identity").fetchone() or ()
        connection.execute("update database_identity set id = gen_random_uuid()")
        asyncio.run(serve_for(2 * replay.LOOK_SECONDS))
        assert stored_ids(database_url) == ids([own])
        connection.execute("update database_identity set id = %s", [before])
        asyncio.run(end())
    assert stored_ids(database_url) == ids([*theirs, own])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.native(reason="what keeps one table from being written keeps all others there")
def test_a_refused_event_that_can_t_be_set_aside_in_time_is_kept_until_it_can(
    database_url: str, tmp_path: Path
) -> None:
    async def scenario() -> Kept:
        async with spooling(database_url, tmp_path, deadline_seconds=1.0) as (writer, spool):
            with psycopg.connect(database_url) as locking:
                locking.execute("lock table rejected_events in access exclusive mode")
                kept = await writer.keep([refused, fine])
            await emptied(spool)
            return kept

    fine, refused = numbered_event(), make_event(payload=REFUSED_PAYLOAD)
    assert asyncio.run(scenario()) == Kept()
    assert stored_ids(database_url) == ids([fine])
    assert set_aside_ids(database_url) == ids([refused])
