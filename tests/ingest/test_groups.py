"""Groups that are written beside each other."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from uuid import UUID

import psycopg
import pytest

from service.events import Event
from service.ingest.waiting import Kept
from service.ingest.writer import Writer
from service.problems import Problem, ProblemKind
from tests.ingest.faults import AWAY, event_of, let_it_fail
from tests.ingest.test_sums import database_errors
from tests.ingest.test_writer import ids, stored_ids, writing
from tests.support.databases import blocked_table
from tests.support.events import numbered_event

pytestmark = pytest.mark.native(reason="one session writes there, and shows nothing of others")

WAITING = (
    "from pg_stat_activity where datname = current_database()"
    " and application_name = 'tallymark' and wait_event_type = 'Lock'"
)


def under_way(url: str) -> int:
    """Return how many statements of writers wait for a lock."""
    with psycopg.connect(url, autocommit=True) as connection:
        (count,) = connection.execute(f"select count(*) {WAITING}".encode()).fetchone() or (0,)
    return int(count)


async def until_under_way(writer: Writer, url: str, groups: int, *, queued: int = 0) -> None:
    """Return once so many groups are being written, and so many events wait for their turn."""
    async with asyncio.timeout(20):
        while (under_way(url), writer.queued_events) != (groups, queued):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


INSERT = """
insert into events (timestamp, event_id, site_id, user_id, event_type, payload)
values (to_timestamp(%s / 1000000.0), %s, 1, 'other', 'view', '{}')
"""


@contextmanager
def held_id(url: str, event: Event | None = None) -> Iterator[Event]:
    """Yield an event whose id somebody else is about to store: to write it takes until the end."""
    event = event or numbered_event()._replace(id_is_given=True)
    with psycopg.connect(url, autocommit=True) as other, other.transaction(force_rollback=True):
        other.execute(INSERT, [event.timestamp, UUID(bytes=event.event_id)])
        yield event


ARRIVING = [1, 1, 1, 1, 7]
"""Events of one request after another."""


@pytest.mark.parametrize(
    ("most", "after_each"),
    [
        (1, [(1, 0), (1, 1), (1, 2), (1, 3), (1, 10)]),
        (2, [(1, 0), (2, 0), (2, 1), (2, 2), (2, 9)]),
        (3, [(1, 0), (2, 0), (2, 1), (3, 0), (3, 7)]),
    ],
)
def test_a_group_is_written_beside_others_once_as_much_waits_as_is_under_way(
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    after_each: list[tuple[int, int]],
) -> None:
    monkeypatch.setattr("service.ingest.writer.HELD_UP_SECONDS", 60.0)

    async def scenario() -> None:
        async with writing(database_url, groups=most) as writer:
            tasks = []
            with blocked_table(database_url, native=True):
                for count, (groups, queued) in zip(ARRIVING, after_each, strict=True):
                    events = [numbered_event() for _ in range(count)]
                    sent.extend(events)
                    tasks.append(asyncio.create_task(writer.keep(events)))
                    await until_under_way(writer, database_url, groups, queued=queued)
            assert await asyncio.gather(*tasks) == [Kept()] * len(ARRIVING)

    sent: list[Event] = []
    asyncio.run(scenario())
    assert stored_ids(database_url) == ids(sent)


def test_one_event_in_two_groups_is_stored_once(database_url: str) -> None:
    async def scenario() -> list[Kept]:
        async with writing(database_url, groups=2) as writer:
            with blocked_table(database_url, native=True):
                tasks = [asyncio.create_task(writer.keep([event, numbered_event()]))]
                await until_under_way(writer, database_url, 1)
                tasks.append(asyncio.create_task(writer.keep([event, numbered_event()])))
                await until_under_way(writer, database_url, 2)
            return await asyncio.gather(*tasks)

    event = numbered_event()._replace(id_is_given=True)
    assert sorted(asyncio.run(scenario())) == [Kept(), Kept(duplicates=1)]
    assert len(stored_ids(database_url)) == 3


@pytest.mark.parametrize("cut", [1, 2])
def test_groups_whose_connections_break_are_written_once(database_url: str, cut: int) -> None:
    async def scenario() -> list[Kept]:
        async with writing(database_url, groups=2) as writer:
            with blocked_table(database_url, native=True):
                tasks = []
                for number, event in enumerate(events, start=1):
                    tasks.append(asyncio.create_task(writer.keep([event])))
                    await until_under_way(writer, database_url, number)
                with psycopg.connect(database_url, autocommit=True) as other:
                    broken = f"select pg_terminate_backend(pid) {WAITING} limit {cut}"
                    assert len(other.execute(broken.encode()).fetchall()) == cut
            return await asyncio.gather(*tasks)

    events = [numbered_event(), numbered_event()]
    assert asyncio.run(scenario()) == [Kept(), Kept()]
    assert stored_ids(database_url) == ids(events)


def test_closing_waits_for_all_groups(database_url: str) -> None:
    async def scenario() -> list[Kept]:
        closed = AsyncExitStack()
        writer = await closed.enter_async_context(writing(database_url, groups=2))
        tasks = []
        with blocked_table(database_url, native=True):
            for event, (groups, queued) in zip(events, [(1, 0), (2, 0), (2, 1)], strict=True):
                tasks.append(asyncio.create_task(writer.keep([event])))
                await until_under_way(writer, database_url, groups, queued=queued)
            closing = asyncio.create_task(closed.aclose())
            await asyncio.sleep(0.1)
            assert not closing.done()
        await closing
        return await asyncio.gather(*tasks)

    events = [numbered_event() for _ in range(3)]
    assert asyncio.run(scenario()) == [Kept()] * 3
    assert stored_ids(database_url) == ids(events)


def test_a_group_that_is_stuck_holds_no_smaller_one_back(database_url: str) -> None:
    async def scenario() -> None:
        async with writing(database_url, groups=2) as writer:
            await writer.keep(few)
            with held_id(database_url) as event:
                stuck = asyncio.create_task(writer.keep([event, *many]))
                await until_under_way(writer, database_url, 1)
                for fresh in more:
                    assert await writer.keep([fresh]) == Kept()
                assert not stuck.done()
                assert stored_ids(database_url) == ids([*few, *more])
            assert await stuck == Kept()
            assert stored_ids(database_url) == ids([event, *many, *few, *more])

    few, many, more = ([numbered_event() for _ in range(count)] for count in (1, 5, 3))
    asyncio.run(scenario())


def test_what_is_being_written_takes_room_until_it_is_done(database_url: str) -> None:
    async def scenario() -> None:
        async with writing(database_url, queue_bytes=1000) as writer:
            with blocked_table(database_url, native=True):
                large = asyncio.create_task(writer.keep(events[:6]))
                await until_under_way(writer, database_url, 1)
                assert writer.full
                with pytest.raises(Problem) as caught:
                    await writer.keep(events[6:])
                assert caught.value.kind is ProblemKind.QUEUE_FULL
            assert await large == Kept()
            async with asyncio.timeout(20):
                while writer.full:  # noqa: ASYNC110 - for a moment after the answer
                    await asyncio.sleep(0.02)
            assert await writer.keep(events[6:]) == Kept()

    events = [numbered_event() for _ in range(7)]
    asyncio.run(scenario())
    assert stored_ids(database_url) == ids(events)


def test_groups_with_the_same_ids_in_another_order_do_not_wait_for_each_other(
    database_url: str,
) -> None:
    async def scenario() -> None:
        async with writing(database_url, groups=2) as writer:
            await writer.keep([numbered_event()])
            before = database_errors("retry")
            with held_id(database_url, middle):
                tasks = [asyncio.create_task(writer.keep([low, middle, high]))]
                await until_under_way(writer, database_url, 1)
                tasks.append(asyncio.create_task(writer.keep([high, low, numbered_event()])))
                await until_under_way(writer, database_url, 2)
            assert await asyncio.gather(*tasks) == [Kept(), Kept(duplicates=2)]
            assert database_errors("retry") == before

    given = [numbered_event()._replace(id_is_given=True) for _ in range(3)]
    low, middle, high = sorted(given, key=lambda event: event.event_id)
    asyncio.run(scenario())
    assert len(stored_ids(database_url)) == 5


def test_an_outage_for_one_group_cuts_no_other_short_that_is_being_written(
    database_url: str,
) -> None:
    async def scenario() -> None:
        async with writing(database_url, groups=2, deadline_seconds=30.0) as writer:
            await writer.keep([first])
            with held_id(database_url) as event:
                slow = asyncio.create_task(writer.keep([event]))
                await until_under_way(writer, database_url, 1)
                # The outage is to last.
                with psycopg.connect(database_url, autocommit=True) as other:
                    other.execute("delete from schema_migrations")
                with pytest.raises(Problem):
                    await writer.keep([event_of(AWAY)])
                assert writer.away
                assert not slow.done()
            assert await slow == Kept()
            assert stored_ids(database_url) == ids([first, event])

    first = numbered_event()
    let_it_fail(database_url)
    asyncio.run(scenario())
