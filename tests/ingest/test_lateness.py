"""Events that lie apart in time are committed apart: a late one makes its own minute stale only."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import chain, pairwise

import psycopg
from hypothesis import given
from hypothesis import strategies as st

from service.ingest.lateness import APART, MOST_GROUPS, by_time
from tests.ingest.test_writer import ids, keep_all, stored_ids, writing
from tests.support.events import make_event, numbered_event

STALE = """
select sum(least(stale_until, now()) - stale_from)
from event_counts_stale
where view_name = 'event_counts_minute' and stale_from > now() - interval '1 day'
"""


@given(times=st.lists(st.integers(0, 40).map(lambda n: n * APART // 3)), most=st.integers(1, 6))
def test_groups_are_those_that_lie_apart(times: list[int], most: int) -> None:
    groups = by_time(times, lambda time: time, most=most)
    assert sorted(chain.from_iterable(groups)) == sorted(times)
    assert len(groups) <= most
    ends = [(max(group), min(group)) for group in groups if group]
    apart = [earliest - latest for (_, earliest), (latest, _) in pairwise(ends)]
    assert all(gap >= APART for gap in apart)
    within = [b - a for group in groups for a, b in pairwise(sorted(group))]
    if len(groups) < most:
        assert all(gap < APART for gap in within)
    else:
        assert not apart or max(within, default=0) <= min(apart)


def test_a_flush_has_no_more_transactions_than_it_may() -> None:
    times = [number * 2 * APART for number in range(1000)]
    assert len(by_time(times, lambda time: time)) == MOST_GROUPS


def test_a_late_event_makes_nothing_stale_but_its_minute(database_url: str) -> None:
    now = datetime.now(UTC)
    late = [make_event(at=now - timedelta(hours=hours)) for hours in (2, 5)]
    events = [numbered_event(), *late, numbered_event()]

    async def scenario() -> list[bytes]:
        async with writing(database_url) as writer:
            assert await keep_all(writer, events) == [None] * len(events)
            return stored_ids(database_url)

    with psycopg.connect(database_url, autocommit=True) as connection:
        refresh = "call refresh_continuous_aggregate('event_counts_minute', null, now())"
        connection.execute(refresh)
        assert asyncio.run(scenario()) == ids(events)
        stale = connection.execute(STALE).fetchone()
    assert stale is not None
    assert stale[0] < timedelta(minutes=10)
