"""What became of events is counted, each once, in every mixture of failures."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from service.events import Event
from service.ingest.minutes import Minutes
from service.ingest.spool import Spool
from service.ingest.spool.segments import read
from service.ingest.store import Store
from service.ingest.waiting import Kept
from service.ingest.writer import Writer
from service.metrics import REGISTRY
from service.problems import Problem
from tests.ingest.faults import AWAY, DEFECT, REFUSED, RETRY, let_it_fail
from tests.support.events import make_event

QUICK_SECONDS, DEADLINE_SECONDS = 0.6, 10.0
FATES = ("events_stored", "events_duplicate", "events_rejected", "spooled_events")
FINE = "user"
HOURS = st.integers(0, 3)
USERS = st.sampled_from([FINE, FINE, FINE, REFUSED, AWAY, DEFECT])
REQUESTS = st.lists(
    st.lists(
        st.tuples(HOURS, USERS, st.sampled_from(["ours", "given", "again", "other"])),
        min_size=1,
        max_size=4,
    ),
    min_size=1,
    max_size=5,
)
"""Of each event how old it is, whose, and whose id it has; `again` is one that was sent before, and
`other` another event under the id of one."""


@pytest.fixture(scope="module")
def failing_url(shared_database_url: str) -> str:
    """A database that fails in the middle."""
    let_it_fail(shared_database_url)
    return shared_database_url


def counted() -> Counter[str]:
    """Return what the metrics say by now."""
    names = (*FATES, "events_not_stored")
    return Counter(
        {name: int(REGISTRY.get_sample_value(f"tallymark_{name}_total") or 0) for name in names}
    )


def database_errors(failure: str) -> float:
    """Return how many failed attempts were counted by now."""
    return sum(
        sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == "tallymark_database_errors_total" and sample.labels["failure"] == failure
    )


def some_requests(drawn: list[list[tuple[int, str, str]]]) -> list[list[Event]]:
    """Return requests, each with each id once."""
    now = datetime.now(UTC)
    before: list[Event] = []
    requests = []
    for one in drawn:
        request: dict[bytes, Event] = {}
        for hours, user_id, whose in one:
            event = make_event(now - timedelta(hours=hours), user_id=user_id)
            if whose == "again" and before:
                event = before[hours % len(before)]
            elif whose == "other" and before:
                event = before[hours % len(before)]._replace(user_id=user_id.encode())
            elif whose != "ours":
                event = event._replace(id_is_given=True)
                before.append(event)
            request.setdefault(event.event_id, event)
        requests.append(list(request.values()))
    return requests


async def send(
    url: str, minutes: Minutes, spool: Spool | None, requests: list[list[Event]], seconds: float
) -> list[Kept | Problem]:
    """Send all of the requests at once and return the answers."""
    writer = Writer(
        Store(url, deadline_seconds=seconds),
        minutes,
        spool,
        groups=2,
        queue_events=10_000,
        queue_bytes=10_000_000,
        deadline_seconds=seconds,
    )
    async with writer:
        answers = await asyncio.gather(*map(writer.keep, requests), return_exceptions=True)
    assert all(isinstance(answer, Kept | Problem) for answer in answers), answers
    return [answer for answer in answers if isinstance(answer, Kept | Problem)]


async def send_with(
    how: str, url: str, minutes: Minutes, requests: list[list[Event]], seconds: float
) -> tuple[list[Kept | Problem], list[Event]]:
    """Send with a spool, a full one, or none; return the answers, and what is in the spool."""
    if how == "none":
        return await send(url, minutes, None, requests, seconds), []
    with TemporaryDirectory() as folder:
        limit = 10_000_000 if how == "spool" else 0
        async with Spool(Path(folder), limit_bytes=limit) as spool:
            answers = await send(url, minutes, spool, requests, seconds)
            spooled = [one for path in await spool.segments() for one in read(path)]
    return answers, [one for one in spooled if isinstance(one, Event)]


def assert_sums(
    how: str, url: str, requests: list[list[Event]], seconds: float = DEADLINE_SECONDS
) -> Counter[str]:
    """Send, and compare what is counted with what was sent, answered, and is there."""
    minutes = Minutes()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("delete from events")
        connection.execute("delete from rejected_events")
        before = counted()
        answers, spooled = asyncio.run(send_with(how, url, minutes, requests, seconds))
        found = counted()
        found.subtract(before)
        stored = connection.execute("select event_id from events").fetchall()
        rejected = connection.execute("select event_id from rejected_events").fetchall()
    sent = sum(map(len, requests))
    assert found.total() == sent
    taken = minutes.take(unfinished=True)
    kept = found["events_stored"] + found["events_duplicate"] + found["spooled_events"]
    assert sum(minute.waits.total() for minute in taken) == kept
    assert sum(minute.not_stored for minute in taken) == sent - kept
    assert found["spooled_events"] == len(spooled)
    # What was written, and written again elsewhere since nobody knew, counts as the latter.
    assert found["events_stored"] <= len(stored)
    assert found["events_rejected"] >= len(rejected)
    told = [answer for answer in answers if isinstance(answer, Kept)]
    assert found["events_duplicate"] >= sum(answer.duplicates for answer in told)
    if len(told) == len(answers):
        assert found["events_not_stored"] == 0
        assert found["events_duplicate"] == sum(answer.duplicates for answer in told)
    return found


@pytest.mark.parametrize("how", ["spool", "full", "none"])
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(drawn=REQUESTS)
# Half of a part is written, and holds what was stored before; then the database is away.
@example([[(0, FINE, "given")], [(0, FINE, "again"), (0, REFUSED, "ours"), (0, AWAY, "ours")]])
# One of two contents of an id is refused, and what was stored of the part is written again.
@example([[(0, FINE, "given")], [(0, REFUSED, "other")], [(0, AWAY, "ours")], [(0, FINE, "again")]])
def test_each_event_is_counted_once(
    failing_url: str, how: str, drawn: list[list[tuple[int, str, str]]]
) -> None:
    assert_sums(how, failing_url, some_requests(drawn), QUICK_SECONDS)


FEW = [(0, FINE, "ours")] * 3


@pytest.mark.parametrize(
    ("how", "request_", "expected"),
    [
        ("spool", FEW, {"events_stored": 3}),
        ("spool", [*FEW, (2, AWAY, "ours")], {"events_stored": 3, "spooled_events": 1}),
        ("spool", [*FEW, (2, RETRY, "ours")], {"events_stored": 3, "spooled_events": 1}),
        ("full", [*FEW, (2, AWAY, "ours")], {"events_stored": 3, "events_not_stored": 1}),
        ("none", [*FEW, (2, DEFECT, "ours")], {"events_stored": 3, "events_not_stored": 1}),
        (
            "spool",
            [*FEW, (1, REFUSED, "ours"), (2, DEFECT, "ours"), (2, FINE, "given")],
            {"events_stored": 3, "events_rejected": 1, "spooled_events": 2},
        ),
        (
            # The refused one is found in a part that is then given up.
            "spool",
            [(0, REFUSED, "ours"), (0, AWAY, "ours"), (0, FINE, "ours")],
            {"events_rejected": 1, "spooled_events": 2},
        ),
    ],
)
def test_a_group_of_which_a_part_was_written(
    failing_url: str,
    how: str,
    request_: list[tuple[int, str, str]],
    expected: dict[str, int],
) -> None:
    found = assert_sums(how, failing_url, some_requests([request_]))
    assert +found == Counter(expected)


def test_what_is_turned_away_at_the_door_is_counted(failing_url: str) -> None:
    async def scenario() -> None:
        writer = Writer(
            Store(failing_url, deadline_seconds=DEADLINE_SECONDS),
            minutes,
            None,
            groups=2,
            queue_events=2,
            queue_bytes=10_000_000,
            deadline_seconds=DEADLINE_SECONDS,
        )
        async with writer:
            answers = [writer.keep([make_event()]) for _ in range(5)]
            await asyncio.gather(*answers, return_exceptions=True)

    minutes = Minutes()
    before = counted()
    asyncio.run(scenario())
    found = counted()
    found.subtract(before)
    assert +found == Counter({"events_stored": 2, "events_not_stored": 3})
    (minute,) = minutes.take(unfinished=True)
    assert (minute.waits.total(), minute.not_stored) == (2, 3)
