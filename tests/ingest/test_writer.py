"""The writer, on the real database: what is kept, what is refused, and what senders are told."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from service.events import Event
from service.ingest.group import Group
from service.ingest.minutes import Minutes
from service.ingest.store import COPY_FROM_EVENTS, Store
from service.ingest.waiting import Kept, Waiting
from service.ingest.writer import Writer
from service.problems import Problem, ProblemKind
from tests.support.events import make_event, numbered_event

REFUSED_PAYLOAD = b'{"url": "\\u0000"}'
"""Validation would not let it through; jsonb does not take it."""

DEADLINE_SECONDS = 10.0


@asynccontextmanager
async def writing(
    url: str,
    *,
    queue_events: int = 10_000,
    queue_bytes: int = 10_000_000,
    groups: int = 1,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> AsyncIterator[Writer]:
    """Yield a writer of its own store."""
    store = Store(url, deadline_seconds=deadline_seconds)
    async with Writer(
        store,
        Minutes(),
        None,
        groups=groups,
        queue_events=queue_events,
        queue_bytes=queue_bytes,
        deadline_seconds=deadline_seconds,
    ) as writer:
        yield writer


async def keep_all(writer: Writer, events: Sequence[Event]) -> list[Problem | None]:
    """Hand all of the events over at once and return each one's answer."""
    answers = await asyncio.gather(
        *(writer.keep([event]) for event in events), return_exceptions=True
    )
    assert all(isinstance(answer, Kept | Problem) for answer in answers), answers
    return [answer if isinstance(answer, Problem) else None for answer in answers]


def stored_ids(url: str) -> list[bytes]:
    """Return the ids in the table, sorted; an id that is there twice stands here twice."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute("select event_id from events order by event_id").fetchall()
    return [event_id.bytes for (event_id,) in rows]


def ids(events: Sequence[Event]) -> list[bytes]:
    """Return the events' ids, sorted."""
    return sorted(event.event_id for event in events)


@pytest.mark.parametrize("count", [1, 2, COPY_FROM_EVENTS - 1, COPY_FROM_EVENTS, 3000])
def test_all_are_stored_when_their_senders_are_answered(database_url: str, count: int) -> None:
    async def scenario() -> list[bytes]:
        async with writing(database_url) as writer:
            assert await keep_all(writer, events) == [None] * count
            return stored_ids(database_url)

    events = [numbered_event() for _ in range(count)]
    assert asyncio.run(scenario()) == ids(events)


@pytest.mark.parametrize("neighbours", [0, 1, 20, COPY_FROM_EVENTS + 10])
def test_a_refused_row_is_set_aside_and_harms_no_neighbour(
    database_url: str, neighbours: int
) -> None:
    async def scenario() -> list[Kept]:
        async with writing(database_url) as writer:
            requests = [[event] for event in good[::2]] + [[bad, *good[1::2]]]
            return await asyncio.gather(*map(writer.keep, requests))

    good, bad = [numbered_event() for _ in range(neighbours)], make_event(payload=REFUSED_PAYLOAD)
    *others, kept = asyncio.run(scenario())
    assert stored_ids(database_url) == ids(good)
    assert kept == Kept(refused=frozenset([bad.event_id]))
    assert set(others) <= {Kept()}
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("select event_id, site_id, sqlstate, body from rejected_events")
        [(event_id, site_id, sqlstate, body)] = rows.fetchall()
    assert (event_id.bytes, site_id, sqlstate) == (bad.event_id, bad.site_id, "22P05")
    assert json.loads(body) == {
        "event_id": str(event_id),
        "user_id": "user",
        "event_type": "view",
        "payload": {"url": "\0"},
    }


def test_who_is_cancelled_is_told_the_ids_and_the_events_are_stored(database_url: str) -> None:
    async def scenario() -> list[Problem | BaseException]:
        async with writing(database_url) as writer:
            tasks = [asyncio.create_task(writer.keep([event])) for event in events]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
        return [answer for answer in answers if not isinstance(answer, Kept)]

    events = [numbered_event() for _ in range(20)]
    problems = asyncio.run(scenario())
    assert [problem.more for problem in problems if isinstance(problem, Problem)] == [
        {"event_ids": [str(UUID(bytes=event.event_id))]} for event in events
    ]
    assert stored_ids(database_url) == ids(events)


def test_what_nobody_waits_for_any_more_is_tried_again_until_it_expires() -> None:
    async def scenario() -> None:
        now = time.monotonic()
        kept, late = (Waiting([numbered_event()], now + left) for left in (60, -1))
        assert Group([late]).is_awaited
        for waiting in (kept, late):
            waiting.answer.cancel()
        assert Group([kept, late]).is_awaited
        assert Group([kept, late]).seconds_left > 0
        assert not Group([late]).is_awaited

    asyncio.run(scenario())


def test_a_request_is_answered_once_all_of_its_events_are_stored(database_url: str) -> None:
    async def scenario() -> None:
        async with writing(database_url) as writer:
            tasks = [asyncio.create_task(writer.keep(events)) for events in requests]
            for done in asyncio.as_completed(tasks):
                await done
                stored = set(stored_ids(database_url))
                for task, events in zip(tasks, requests, strict=True):
                    assert not task.done() or stored.issuperset(ids(events))

    now = datetime.now(UTC)
    requests = [
        [make_event(now - timedelta(hours=number * hours)) for number in range(size)]
        for hours, size in [(0, 1), (1, 5), (2, 40), (0, 200), (3, 2)]
    ]
    asyncio.run(scenario())


def test_what_was_stored_already_is_told_to_those_who_send_it_again(database_url: str) -> None:
    async def scenario() -> None:
        async with writing(database_url) as writer:
            assert await writer.keep(given[:3]) == Kept()
            assert await writer.keep(given) == Kept(duplicates=3)
            assert await writer.keep([*given, numbered_event()]) == Kept(duplicates=5)
            fresh = given_event()
            both = await asyncio.gather(
                writer.keep([given[0], fresh, fresh]), writer.keep([fresh, numbered_event()])
            )
            assert list(both) == [Kept(duplicates=2), Kept(duplicates=1)]

    def given_event() -> Event:
        return numbered_event()._replace(id_is_given=True)

    given = [given_event() for _ in range(5)]
    asyncio.run(scenario())
    assert len(stored_ids(database_url)) == 8


def test_of_two_contents_of_an_id_one_is_stored_and_the_other_refused(database_url: str) -> None:
    async def scenario() -> list[Kept]:
        async with writing(database_url) as writer:
            requests = [[good], [bad], [good], [numbered_event()]]
            return await asyncio.gather(*map(writer.keep, requests))

    good = numbered_event()._replace(id_is_given=True)
    bad = good._replace(payload=REFUSED_PAYLOAD)
    first, refused, again, other = asyncio.run(scenario())
    assert refused == Kept(refused=frozenset([good.event_id]))
    assert (first, again, other) == (Kept(), Kept(duplicates=1), Kept())
    assert len(stored_ids(database_url)) == 2


@pytest.mark.parametrize("limit", [{"queue_events": 5}, {"queue_bytes": 1200}])
def test_a_full_queue_takes_no_more(database_url: str, limit: dict[str, int]) -> None:
    async def scenario() -> list[Problem | None]:
        async with writing(database_url, **limit) as writer:
            return await keep_all(writer, events)

    events = [numbered_event() for _ in range(50)]
    answers = asyncio.run(scenario())
    kept = [event for event, answer in zip(events, answers, strict=True) if answer is None]
    assert 0 < len(kept) < 50
    assert stored_ids(database_url) == ids(kept)
    kinds = {answer.kind for answer in answers if answer is not None}
    assert kinds == {ProblemKind.QUEUE_FULL}


def test_what_expires_first_has_its_turn_first(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever came first: a batch may have waited to be parsed."""
    monkeypatch.setattr("service.ingest.writer.MAX_GROUP_EVENTS", 1)

    async def scenario() -> None:
        async def keep(seconds: float) -> None:
            await writer.keep([numbered_event()], expires=writer.deadline() + seconds)
            kept.append(seconds)

        async with writing(database_url) as writer:
            await asyncio.gather(*map(keep, (60, 40, 50)))

    kept: list[float] = []
    asyncio.run(scenario())
    assert kept == [40, 50, 60]


def test_what_has_expired_when_it_comes_is_not_stored(database_url: str) -> None:
    async def scenario() -> None:
        async with writing(database_url) as writer:
            with pytest.raises(Problem) as caught:
                await writer.keep([numbered_event()], expires=time.monotonic())
            assert caught.value.kind is ProblemKind.NOT_STORED
            assert "event_ids" not in caught.value.more

    asyncio.run(scenario())
    assert stored_ids(database_url) == []


def test_closing_writes_what_is_queued(database_url: str) -> None:
    async def scenario() -> None:
        async with writing(database_url) as writer:
            handed_over = [asyncio.create_task(writer.keep([event])) for event in events]
            await asyncio.sleep(0)
        await asyncio.gather(*handed_over)

    events = [numbered_event() for _ in range(100)]
    asyncio.run(scenario())
    assert stored_ids(database_url) == ids(events)


def test_a_closed_writer_takes_no_more(database_url: str) -> None:
    async def scenario() -> list[Problem | None]:
        async with writing(database_url) as writer:
            pass
        return await keep_all(writer, [numbered_event()])

    (answer,) = asyncio.run(scenario())
    assert answer is not None
    assert answer.kind is ProblemKind.QUEUE_FULL
    assert stored_ids(database_url) == []


def test_a_database_that_never_answers_is_told_in_time_and_nothing_is_stored() -> None:
    async def scenario() -> tuple[list[Problem | None], str | None]:
        nowhere = "postgresql://postgres@127.0.0.1:1/nowhere"
        async with writing(nowhere, deadline_seconds=0.5) as writer:
            answers = await keep_all(writer, [numbered_event() for _ in range(10)])
            return answers, writer.away

    answers, away = asyncio.run(scenario())
    assert {answer and answer.kind for answer in answers} == {ProblemKind.NOT_STORED}
    assert "refused" in (away or "")


@pytest.mark.native(reason="an open transaction keeps everybody else waiting there")
def test_what_waits_behind_a_lock_is_answered_by_its_deadline_and_stored_once_at_most(
    database_url: str,
) -> None:
    async def scenario() -> list[Problem | None]:
        async with writing(database_url, deadline_seconds=1.0) as writer:
            assert await keep_all(writer, [first]) == [None]
            with psycopg.connect(database_url) as locking:
                locking.execute("lock table events in access exclusive mode")
                in_flight = asyncio.create_task(keep_all(writer, [sent]))
                await asyncio.sleep(0.05)
                told = await keep_all(writer, queued)
                told += await in_flight
            assert await keep_all(writer, [last]) == [None]
            return told

    first, sent, last = numbered_event(), numbered_event(), numbered_event()
    queued = [numbered_event() for _ in range(5)]
    problems = asyncio.run(scenario())
    stored = stored_ids(database_url)
    assert set(ids([first, last])) <= set(stored)
    assert len(set(stored)) == len(stored)
    for event, problem in zip([*queued, sent], problems, strict=True):
        assert problem is not None
        assert problem.kind is ProblemKind.NOT_STORED
        if event.event_id in stored:
            # It had been sent, so that nobody could know: then the answer bears the id.
            assert problem.more == {"event_ids": [str(UUID(bytes=event.event_id))]}
    assert problems[-1] is not None
    assert problems[-1].more == {"event_ids": [str(UUID(bytes=sent.event_id))]}


@pytest.mark.native(reason="sessions can't be terminated there; tests/faults kills the server")
def test_a_broken_connection_is_renewed_and_its_group_written_once(database_url: str) -> None:
    async def scenario() -> None:
        async with writing(database_url) as writer:
            for event in events:
                await writer.keep([event])
                with psycopg.connect(database_url, autocommit=True) as other:
                    other.execute(
                        "select pg_terminate_backend(pid) from pg_stat_activity "
                        "where datname = current_database() and pid <> pg_backend_pid()"
                        "  and application_name = 'tallymark'"
                    )

    events = [numbered_event() for _ in range(10)]
    asyncio.run(scenario())
    assert stored_ids(database_url) == ids(events)


@pytest.mark.native(reason="a database's settings are not for one session of many there")
def test_a_database_that_was_read_only_for_a_while_is_written_to_again(database_url: str) -> None:
    async def scenario() -> None:
        with psycopg.connect(database_url, autocommit=True) as other:
            name = other.info.dbname
            other.execute(f"alter database {name} set default_transaction_read_only = on".encode())
            async with writing(database_url) as writer:
                assert writer.away is not None
                waiting = asyncio.create_task(writer.keep([event]))
                await asyncio.sleep(0.3)
                other.execute("set default_transaction_read_only = off")
                reset = f"alter database {name} reset default_transaction_read_only"
                other.execute(reset.encode())
                await waiting
                assert writer.away is None

    event = numbered_event()
    asyncio.run(scenario())
    assert stored_ids(database_url) == ids([event])


def test_a_defect_after_the_commit_ends_nothing(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Minutes, "stored", None)

    async def scenario() -> list[Kept]:
        async with writing(database_url) as writer:
            return [await writer.keep([event]) for event in events]

    events = [numbered_event() for _ in range(3)]
    assert asyncio.run(scenario()) == [Kept()] * 3
    assert stored_ids(database_url) == ids(events)


def test_a_defect_before_a_group_is_written_is_told_with_ids_and_ends_nothing(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with writing(database_url) as writer:
            with monkeypatch.context() as patched:
                patched.setattr("service.ingest.group.by_time", None)
                (problem,) = await keep_all(writer, [lost])
            assert problem is not None
            assert problem.kind is ProblemKind.DEFECT
            assert problem.more == {"event_ids": [str(UUID(bytes=lost.event_id))]}
            await writer.keep([kept])

    lost, kept = numbered_event(), numbered_event()
    asyncio.run(scenario())
    assert stored_ids(database_url) == ids([kept])


def test_whatever_ended_a_task_the_others_end_and_the_connections_are_closed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def end() -> None:
        async with writing(database_url) as writer:
            await writer.keep([numbered_event()])
            monkeypatch.setattr(writer, "_begin_group", None)
            tasks.append(asyncio.create_task(writer.keep([numbered_event()])))

    async def scenario() -> None:
        with pytest.raises(ExceptionGroup):
            await end()
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    tasks: list[asyncio.Task[Kept]] = []
    asyncio.run(scenario())
    assert len(stored_ids(database_url)) == 1
