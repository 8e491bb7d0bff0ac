"""Any range over any events, whatever happened to them: a count equals the raw COUNT."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from psycopg import Connection

from tests.counting.counts import (
    LEVELS,
    assert_exact,
    repeatable_read,
    wrong_buckets,
)
from tests.counting.steps import SITES, Step, Window, coarse_steps, moments, steps, windows
from tests.counting.weeks import bounded, ends, fresh_weeks

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")

# An end as (days from the first one), nothing, or a text that is far away.
far_starts = st.sampled_from(["-infinity", "4714-11-24 00:00+00 BC", "0044-03-15 12:00+00 BC"])
far_ends = st.sampled_from(["infinity", "9999-12-31 23:59:59.999999+00", "294240-01-01"])
ranges = windows | st.tuples(far_starts | moments, far_ends) | st.tuples(far_starts, moments)


@bounded
@given(
    happenings=st.lists(st.tuples(steps, ranges), min_size=1, max_size=12),
    zone=st.sampled_from(ZONES),
)
def test_counts_equal_the_raw_count_after_each_step(
    connection: Connection,
    happenings: list[tuple[Step, Window | tuple[timedelta | str, timedelta | str]]],
    zone: str,
) -> None:
    first_day = fresh_weeks(connection)
    connection.execute("select set_config('timezone', %s, false)", [zone])
    for step, asked in happenings:
        step.take(connection, first_day)
        start, end = ends(asked, first_day)
        for site in SITES:
            assert_exact(connection, start, end, site)
            with repeatable_read(connection):
                assert_exact(connection, start, end, site)


@bounded
@given(happenings=st.lists(steps, min_size=1, max_size=12))
def test_each_level_equals_the_events_wherever_it_is_not_stale(
    connection: Connection, happenings: list[Step]
) -> None:
    first_day = fresh_weeks(connection)
    for step in happenings:
        step.take(connection, first_day)
        for level in LEVELS:
            assert wrong_buckets(connection, level) == []


@bounded
@given(happenings=st.lists(coarse_steps, min_size=4, max_size=16))
def test_counts_are_exact_whatever_the_order_of_the_refreshes(
    connection: Connection, happenings: list[Step]
) -> None:
    first_day = fresh_weeks(connection)
    for step in happenings:
        step.take(connection, first_day)
        assert_exact(connection)
