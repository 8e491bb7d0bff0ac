"""Events go, counts stay: whatever is dropped, refreshed, changed or interrupted."""

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection, Error, errors

from service.database import retention
from service.database.embedded import EmbeddedDatabase
from service.database.migrations import migrate
from service.database.retention import refresh_beside, refresh_counts, set_retention
from tests.counting.counts import (
    INSERT,
    LEVELS,
    assert_exact,
    connect,
    counted,
    fill,
    refresh,
    repeatable_read,
)
from tests.counting.steps import DAY, TYPES, RunPolicy
from tests.embedded.conftest import eventually
from tests.support.proxy import Proxy

MINUTE = timedelta(minutes=1)
MICROSECOND = timedelta(microseconds=1)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
DAYS = 16
"""Days before today that have events."""
FIRST = TODAY - DAYS * DAY

Range = tuple[datetime | None, datetime | None]


def apply(connection: Connection, days: int) -> None:
    """Let the days that are older go; again while a refresh is in the way."""
    connection.execute("call apply_retention(%s)", [days * DAY])


def border(connection: Connection) -> datetime:
    """Return from when on events are kept; the first instant of all while all are."""
    query = "select nullif(retained_from(), '-infinity')"
    row = connection.execute(query).fetchone()
    return (row and row[0]) or datetime.min.replace(tzinfo=UTC)


def events_left(connection: Connection) -> int:
    """Return how many rows there are."""
    row = connection.execute("select count(*) from events").fetchone()
    assert row is not None
    return int(row[0])


def contents(connection: Connection, before: datetime) -> list[list[tuple[object, ...]]]:
    """Return what each level holds of the days before one."""
    return [
        connection.execute(
            f"select * from {level} where bucket < %s order by 1, 2, 3".encode(), [before]
        ).fetchall()
        for level in LEVELS
    ]


def run_policies(connection: Connection) -> None:
    """Do what the refresh policies would do now."""
    for level in LEVELS:
        RunPolicy(level).take(connection, FIRST)


# Any history


@dataclass
class Ledger:
    """All events that there ever were, but for those that somebody deleted while they were kept."""

    events: list[tuple[datetime, str]] = field(default_factory=list)

    def count(self, start: datetime | None, end: datetime | None) -> dict[str, int]:
        """Return what a count must say."""
        return Counter(
            kind
            for moment, kind in self.events
            if (start is None or start <= moment) and (end is None or moment < end)
        )


@dataclass(frozen=True)
class Insert:
    """Rows that come late, or not; below the border there is no place for them any more."""

    rows: list[tuple[timedelta, str]]

    def take(self, connection: Connection, ledger: Ledger) -> None:
        """Insert them."""
        kept_from = border(connection)
        rows = [(FIRST + at, kind) for at, kind in self.rows if FIRST + at >= kept_from]
        moments, kinds = [at for at, _ in rows], [kind for _, kind in rows]
        connection.execute(INSERT, [moments, [1] * len(rows), kinds])
        ledger.events += rows


@dataclass(frozen=True)
class DeleteDay:
    """The end, by hand, of a day's rows that are kept."""

    day: int

    def take(self, connection: Connection, ledger: Ledger) -> None:
        """Delete them."""
        start = max(FIRST + self.day * DAY, border(connection))
        end = FIRST + (self.day + 1) * DAY
        connection.execute(
            "delete from events where timestamp >= %s and timestamp < %s", [start, end]
        )
        ledger.events = [one for one in ledger.events if not start <= one[0] < end]


@dataclass(frozen=True)
class Refresh:
    """A refresh by hand of all levels."""

    start: timedelta | None
    end: timedelta | None

    def take(self, connection: Connection, _: Ledger) -> None:
        """Refresh."""
        start, end = (None if bound is None else FIRST + bound for bound in (self.start, self.end))
        refresh_counts(connection, start, end)


@dataclass(frozen=True)
class Policies:
    """A run of each refresh policy."""

    def take(self, connection: Connection, _: Ledger) -> None:
        """Run them."""
        run_policies(connection)


@dataclass(frozen=True)
class Apply:
    """Retention, with that many days kept from now on, or none dropped any more."""

    keep_days: int | None
    run: bool

    def take(self, connection: Connection, _: Ledger) -> None:
        """Set it, and perhaps run it."""
        keep = None if self.keep_days is None else self.keep_days * DAY
        connection.execute("select schedule_retention(%s)", [keep])
        if keep is not None and self.run:
            connection.execute("call apply_retention(%s)", [keep])


days = st.integers(0, DAYS)
minutes = st.builds(
    lambda day, minute: day * DAY + minute * MINUTE,
    days,
    st.sampled_from([0, 1, 14, 15, 720, 1439]) | st.integers(0, 1439),
)
moments = minutes | st.builds(
    lambda minute, more: minute + more,
    minutes,
    st.sampled_from([MICROSECOND, MINUTE - MICROSECOND])
    | st.timedeltas(timedelta(0), MINUTE - MICROSECOND),
)
steps: st.SearchStrategy[Insert | DeleteDay | Refresh | Policies | Apply] = st.one_of(
    st.builds(Insert, st.lists(st.tuples(moments, st.sampled_from(TYPES)), min_size=1, max_size=8)),
    st.builds(DeleteDay, days),
    st.builds(Refresh, st.none() | moments, st.none() | moments),
    st.builds(Policies),
    st.builds(Apply, st.none() | st.integers(9, DAYS + 1), st.booleans()),
    st.builds(Apply, st.integers(9, DAYS + 1), st.just(True)),
)
ends = st.none() | minutes | moments


@settings(
    deadline=None,
    max_examples=int(os.environ.get("COUNTING_EXAMPLES", "30")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    first=st.lists(st.tuples(moments, st.sampled_from(TYPES)), min_size=1, max_size=30),
    happenings=st.lists(st.tuples(steps, st.tuples(ends, ends)), min_size=1, max_size=10),
)
def test_counts_are_of_all_events_ever_or_refused(
    connection: Connection,
    first: list[tuple[timedelta, str]],
    happenings: list[
        tuple[
            Insert | DeleteDay | Refresh | Policies | Apply,
            tuple[timedelta | None, timedelta | None],
        ]
    ],
) -> None:
    start_anew(connection)
    ledger = Ledger()
    Insert(first).take(connection, ledger)
    for step, asked in happenings:
        step.take(connection, ledger)
        start, end = (None if bound is None else FIRST + bound for bound in asked)
        check(connection, ledger, start, end)
        check(connection, ledger, None, None)


def start_anew(connection: Connection) -> None:
    """Bring the database back to no events, all of which are kept."""
    connection.execute("update retention set retained_from = '-infinity'")
    connection.execute("select schedule_retention(null)")
    connection.execute("truncate events")
    for level in LEVELS:
        connection.execute(f"delete from {level}".encode())
        refresh(connection, level, None, FIRST)


def check(
    connection: Connection, ledger: Ledger, start: datetime | None, end: datetime | None
) -> None:
    """Count a range; one with an edge within a minute that has gone is refused, no other is."""
    if start is not None and end is not None and start >= end:
        assert counted(connection, start, end) == {}
        return
    kept_from = border(connection)
    lost = [
        edge
        for edge in (start, end)
        if edge is not None and edge < kept_from and (edge.second or edge.microsecond)
    ]
    if lost:
        with pytest.raises(Error) as refused:
            counted(connection, start, end)
        assert refused.value.sqlstate == "TM001"
        assert refused.value.diag.message_detail == "1 minute"
    else:
        assert counted(connection, start, end) == ledger.count(start, end)


# One history


@pytest.fixture
def filled(connection: Connection) -> Connection:
    """A database with an event each twenty minutes, of which nothing was refreshed yet."""
    fill(connection, str(FIRST), str(TODAY - MINUTE), "20 minutes")
    return connection


ALL = DAYS * 72


STEPS = [
    "select cut_refreshes('9 days')",
    "call refresh_aggregates(null, date_bin('24 hours', now() - interval '9 days', 'epoch'))",
    "select raise_retained_from(date_bin('24 hours', now() - interval '9 days', 'epoch'))",
    "select drop_oldest_events()",
]


@pytest.mark.parametrize("done", range(len(STEPS) + 1))
def test_what_was_interrupted_after_any_step_is_finished(filled: Connection, done: int) -> None:
    for step in STEPS[:done]:
        filled.execute(step.encode())
        assert counted(filled, None, None) == {"view": ALL}
        assert counted(filled, FIRST + 10 * MINUTE, None) == {"view": ALL - 1}
    apply(filled, 9)
    assert border(filled) == TODAY - 9 * DAY
    assert events_left(filled) == 9 * 72
    assert counted(filled, None, None) == {"view": ALL}
    assert counted(filled, FIRST + 10 * MINUTE, None) == {"view": ALL - 1}


def test_many_chunks_go_in_several_transactions(connection: Connection) -> None:
    fill(connection, str(TODAY - 80 * DAY), str(TODAY), "1 day")
    apply(connection, 9)
    assert events_left(connection) == 10
    assert counted(connection, None, None) == {"view": 81}


def test_no_refresh_empties_what_was_dropped(filled: Connection) -> None:
    apply(filled, 10)
    kept = contents(filled, border(filled))
    assert all(kept)
    # As operators change their minds, and with changes near the border that give the policies work.
    for keep in (10, 9, 14, None, 30):
        filled.execute("select schedule_retention(%s)", [keep and keep * DAY])
        fill(filled, str(border(filled)), str(border(filled)), "1 minute")
        run_policies(filled)
        refresh_counts(filled)
        refresh_counts(filled, FIRST, FIRST + DAY)
        refresh_counts(filled, None, border(filled) + MICROSECOND)
        assert contents(filled, border(filled)) == kept
    assert counted(filled, None, border(filled)) == {"view": (DAYS - 10) * 72}


def test_the_first_day_that_is_kept_is_not_stale_afterwards(filled: Connection) -> None:
    refresh_counts(filled)
    apply(filled, 9)
    query = "select count(*) from stale_ranges where stale_from < now() - interval '2 days'"
    assert filled.execute(query).fetchone() == (0,)


def test_a_late_row_before_the_border_moves_is_taken_in_first(filled: Connection) -> None:
    for step in STEPS[:2]:
        filled.execute(step.encode())
    fill(filled, str(FIRST), str(FIRST), "1 minute")
    assert filled.execute(STEPS[2].encode()).fetchone() == (False,)
    assert border(filled) < FIRST
    apply(filled, 9)
    assert counted(filled, None, None) == {"view": ALL + 1}


@pytest.mark.native
def test_a_writer_that_has_not_committed_makes_it_fail_and_nothing_is_lost(
    filled: Connection, quiet_url: str
) -> None:
    with connect(quiet_url) as writer, writer.transaction():
        fill(writer, str(FIRST), str(FIRST), "1 minute")
        with pytest.raises(errors.LockNotAvailable):
            apply(filled, 9)
    assert counted(filled, None, None) == {"view": ALL + 1}
    apply(filled, 9)
    assert events_left(filled) == 9 * 72
    assert counted(filled, None, None) == {"view": ALL + 1}


@pytest.mark.native
def test_a_count_whose_events_go_while_it_reads_is_refused(
    filled: Connection, quiet_url: str
) -> None:
    refresh_counts(filled)
    outcome: list[object] = []

    def count() -> None:
        with connect(quiet_url) as reader:
            try:
                outcome.append(counted(reader, FIRST + MICROSECOND, None))
            except Error as error:
                outcome.append(error.sqlstate)

    first_chunk = "select show_chunks('events', older_than => %s)::text"
    chunk = filled.execute(first_chunk, [FIRST + DAY]).fetchone()
    assert chunk is not None
    reading = threading.Thread(target=count)
    with connect(quiet_url) as other:
        with other.transaction():
            other.execute(f"lock table {chunk[0]} in access exclusive mode".encode())
            reading.start()
            waits = """
                select exists (
                    select from pg_locks where not granted and relation = %s::regclass
                )
            """
            eventually(lambda: filled.execute(waits, chunk).fetchone() == (True,))
            filled.execute("update retention set retained_from = %s", [TODAY - 9 * DAY])
            other.execute("select drop_oldest_events()")
        reading.join()
    assert outcome == ["TM001"]


@pytest.mark.native
def test_a_refresh_that_meets_another_is_tried_again(filled: Connection, quiet_url: str) -> None:
    filled.execute("set lock_timeout = '50ms'")
    with connect(quiet_url) as other:
        locked = threading.Event()

        def block() -> None:
            with other.transaction():
                other.execute("lock table events in access exclusive mode")
                locked.set()
                other.execute("select pg_sleep(0.5)")

        blocking = threading.Thread(target=block)
        blocking.start()
        locked.wait()
        with pytest.raises(errors.LockNotAvailable):
            filled.execute("call refresh_counts()")
        refresh_counts(filled)
        blocking.join()
    assert contents(filled, TODAY)[2]


def test_all_is_counted_exactly_before_retention_too(filled: Connection) -> None:
    for start in (None, FIRST + MICROSECOND, FIRST + 3 * DAY + MICROSECOND):
        assert_exact(filled, start, None)
        with repeatable_read(filled):
            assert_exact(filled, start, None)


@pytest.mark.parametrize("width", ["minute", "quarter_hour", "hour", "day"])
def test_buckets_of_days_that_are_gone_are_exact(filled: Connection, width: str) -> None:
    query = "select * from event_counts_over_time(%s, %s, %s, 'Asia/Kathmandu')"
    asked = [width, FIRST + 90 * MINUTE, FIRST + 2 * DAY]
    before = filled.execute(query, asked).fetchall()
    apply(filled, 9)
    assert filled.execute(query, asked).fetchall() == before
    with pytest.raises(Error, match=f"events before {border(filled):%Y-%m-%d}T00:00:00Z are not"):
        filled.execute(query, [width, FIRST + MICROSECOND, FIRST + DAY])


@pytest.mark.parametrize("call", ["call apply_retention(%s)", "select schedule_retention(%s)"])
def test_less_than_nine_days_are_refused(filled: Connection, call: str) -> None:
    with pytest.raises(errors.InvalidParameterValue):
        filled.execute(call.encode(), [9 * DAY - MICROSECOND])
    assert events_left(filled) == ALL


# The job


def retention_jobs(connection: Connection) -> list[tuple[object, ...]]:
    """Return the jobs: id, days kept, and how long until the first run."""
    return connection.execute(
        """
        select job_id, extract(day from (config ->> 'keep')::interval)::integer,
               (extract(epoch from next_start - now()) / 60)::integer
        from timescaledb_information.jobs where proc_name = 'retention_job'
        """
    ).fetchall()


def start_offsets(connection: Connection) -> set[object]:
    """Return how far back the refresh policies go."""
    return {
        offset
        for (offset,) in connection.execute(
            """
            select (config ->> 'start_offset')::interval from timescaledb_information.jobs
            where proc_name = 'policy_refresh_continuous_aggregate'
            """
        )
    }


def test_the_setting_makes_changes_and_ends_one_job(quiet_url: str, filled: Connection) -> None:
    set_retention(quiet_url, None)
    assert retention_jobs(filled) == []
    assert start_offsets(filled) == {None}
    set_retention(quiet_url, 12)
    ((job, kept, _),) = retention_jobs(filled)
    assert kept == 12
    assert start_offsets(filled) == {11 * DAY}
    set_retention(quiet_url, 12)
    set_retention(quiet_url, 30)
    assert [found[:2] for found in retention_jobs(filled)] == [(job, 30)]
    set_retention(quiet_url, None)
    assert retention_jobs(filled) == []
    assert start_offsets(filled) == {None}


def test_the_job_lets_events_go(quiet_url: str, filled: Connection) -> None:
    set_retention(quiet_url, 9)
    ((job, _, _),) = retention_jobs(filled)
    filled.execute("call run_job(%s)", [job])
    assert events_left(filled) == 9 * 72
    assert counted(filled, None, None) == {"view": ALL}


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[tuple[str, Connection]]:
    """An embedded server of one's own, with the schema, whose jobs run."""
    with EmbeddedDatabase(tmp_path, durable=False) as database:
        migrate(database.url)
        with connect(database.url) as connection:
            yield database.url, connection


def test_the_job_runs_on_the_embedded_server(embedded: tuple[str, Connection]) -> None:
    url, connection = embedded
    fill(connection, str(FIRST), str(TODAY - MINUTE), "20 minutes")
    set_retention(url, 9)
    connection.execute(
        "update _timescaledb_config.bgw_job set initial_start = now() "
        "where proc_name = 'retention_job'"
    )
    eventually(lambda: events_left(connection) == 9 * 72, 20)
    assert counted(connection, None, None) == {"view": ALL}


def test_a_refresh_beside_is_given_up_where_the_server_is_silent(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "REFRESH_DEADLINE_SECONDS", 1.0)
    with Proxy(database_url) as proxy:
        proxy.hold()
        with pytest.raises(TimeoutError):
            asyncio.run(refresh_beside(proxy.url, datetime.now(UTC), datetime.now(UTC)))
