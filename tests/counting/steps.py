"""What may happen to events between two counts, as values that hypothesis draws and prints."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from hypothesis import strategies as st
from psycopg import Connection, errors

from tests.counting.counts import INSERT, LEVELS, refresh

MICROSECOND = timedelta(microseconds=1)
DAY = timedelta(days=1)
DAYS = 21
TYPES = ("view", "click", "location")
SITES = (1, 2)

IN_WINDOW = "where timestamp >= %(start)s and timestamp < %(end)s"
CHUNK = """
select format('%%I.%%I', chunk_schema, chunk_name)
from timescaledb_information.chunks
where hypertable_name = 'events' and range_start <= %s and range_end > %s and is_compressed = %s
"""


class Step(Protocol):
    """Something that happens; moments are counted from the first day."""

    def take(self, connection: Connection, first_day: datetime) -> None:
        """Do it."""


@dataclass(frozen=True)
class Event:
    """An event of somebody."""

    at: timedelta
    event_type: str
    site: int


@dataclass(frozen=True)
class Window:
    """From a moment to a later one, which is not part of it; None is an open end."""

    start: timedelta | None
    end: timedelta | None

    def values(self, first_day: datetime) -> dict[str, datetime]:
        """Return its ends, where an open one is far away."""
        return {
            "start": first_day + (-400 * DAY if self.start is None else self.start),
            "end": first_day + (400 * DAY if self.end is None else self.end),
        }


@dataclass(frozen=True)
class Insert:
    """Rows by INSERT."""

    events: list[Event]

    def take(self, connection: Connection, first_day: datetime) -> None:
        """Insert them."""
        moments = [first_day + event.at for event in self.events]
        sites = [event.site for event in self.events]
        types = [event.event_type for event in self.events]
        connection.execute(INSERT, [moments, sites, types])


@dataclass(frozen=True)
class Copy:
    """Rows by COPY."""

    events: list[Event]

    def take(self, connection: Connection, first_day: datetime) -> None:
        """Copy them in."""
        row = "copy events (timestamp, event_id, site_id, user_id, event_type, payload) from stdin"
        ids = connection.execute(
            "select gen_random_uuid() from generate_series(1, %s)", [len(self.events)]
        ).fetchall()
        with connection.cursor() as cursor, cursor.copy(row) as copy:
            for event, (event_id,) in zip(self.events, ids, strict=True):
                moment = first_day + event.at
                copy.write_row((moment, event_id, event.site, "x", event.event_type, "{}"))


@dataclass(frozen=True)
class Change:
    """Another type or site for the rows of a window."""

    window: Window
    event_type: str
    site: int

    def take(self, connection: Connection, first_day: datetime) -> None:
        """Update them."""
        connection.execute(
            f"update events set event_type = %(event_type)s, site_id = %(site)s {IN_WINDOW}",
            self.window.values(first_day) | {"event_type": self.event_type, "site": self.site},
        )


@dataclass(frozen=True)
class MoveWithinDay:
    """Another time of the same day for the rows of a window."""

    window: Window
    time_of_day: timedelta

    def take(self, connection: Connection, first_day: datetime) -> None:
        """Update them: a row can't leave its chunk, which is a day, and must be in rowstore."""
        values = self.window.values(first_day) | {"time": self.time_of_day}
        with suppress(errors.FeatureNotSupported), connection.transaction():
            connection.execute(
                f"""
                update events
                set timestamp = date_bin('24 hours', timestamp, '2000-01-01 00:00+00') + %(time)s
                {IN_WINDOW}
                """,
                values,
            )


@dataclass(frozen=True)
class Move:
    """Another moment for the rows of a window, whatever its day."""

    window: Window
    to: timedelta

    def take(self, connection: Connection, first_day: datetime) -> None:
        """Delete them and insert them anew, in one statement."""
        connection.execute(
            f"""
            with moved as (delete from events {IN_WINDOW} returning *)
            insert into events (timestamp, event_id, site_id, user_id, event_type, payload)
            select %(to)s, gen_random_uuid(), site_id, user_id, event_type, payload from moved
            """,
            self.window.values(first_day) | {"to": first_day + self.to},
        )


@dataclass(frozen=True)
class Delete:
    """The end of the rows of a window."""

    window: Window

    def take(self, connection: Connection, first_day: datetime) -> None:
        """Delete them."""
        connection.execute(f"delete from events {IN_WINDOW}", self.window.values(first_day))


@dataclass(frozen=True)
class RolledBack:
    """A change that is not kept."""

    change: Step

    def take(self, connection: Connection, first_day: datetime) -> None:
        """Do it, and undo it."""
        with connection.transaction(force_rollback=True):
            self.change.take(connection, first_day)


@dataclass(frozen=True)
class Together:
    """Changes in one transaction, the second of them tried twice."""

    first: Step
    second: Step

    def take(self, connection: Connection, first_day: datetime) -> None:
        """Do all of it."""
        with connection.transaction():
            self.first.take(connection, first_day)
            with connection.transaction(force_rollback=True):
                self.second.take(connection, first_day)
            self.second.take(connection, first_day)


@dataclass(frozen=True)
class Refresh:
    """A refresh of a window of one level; an open end is TimescaleDB's."""

    level: str
    window: Window

    def take(self, connection: Connection, first_day: datetime) -> None:
        """Refresh it, unless it is smaller than a bucket."""
        start, end = self.window.start, self.window.end
        try:
            refresh(
                connection,
                self.level,
                None if start is None else first_day + start,
                None if end is None else first_day + end,
            )
        except errors.InvalidParameterValue:
            assert start is not None
            assert end is not None
            assert end - start < 2 * DAY


@dataclass(frozen=True)
class RunPolicy:
    """The refresh that the level's own policy would do now."""

    level: str

    def take(self, connection: Connection, first_day: datetime) -> None:
        """Run the job."""
        job = connection.execute(
            """
            select job_id
            from timescaledb_information.jobs as job
            join timescaledb_information.continuous_aggregates as aggregate
              on job.hypertable_name in (view_name, materialization_hypertable_name)
            where view_name = %s and proc_name = 'policy_refresh_continuous_aggregate'
            """,
            [self.level],
        ).fetchone()
        assert job is not None
        connection.execute("call run_job(%s)", job)


@dataclass(frozen=True)
class Convert:
    """The conversion of a day's chunk to columnstore, or back."""

    day: int
    to_columns: bool

    def take(self, connection: Connection, first_day: datetime) -> None:
        """Convert it, if there is one to convert."""
        moment = first_day + self.day * DAY
        chunk = connection.execute(CHUNK, [moment, moment, not self.to_columns]).fetchone()
        if chunk is not None:
            to = "columnstore" if self.to_columns else "rowstore"
            connection.execute(f"call convert_to_{to}(%s)", chunk)


def _moment(day: int, minute: int, more: timedelta) -> timedelta:
    return timedelta(days=day, minutes=minute) + more


# Few days, and mostly the edges of buckets, so that steps and ranges meet.
days = st.sampled_from([0, 1, 2, 3, 8, DAYS - 1]) | st.integers(0, DAYS - 1)
minutes = st.sampled_from([0, 1, 14, 15, 16, 720, 1425, 1439]) | st.integers(0, 1439)
within_minute = st.sampled_from([-MICROSECOND, 0 * MICROSECOND, MICROSECOND]) | st.timedeltas(
    timedelta(0), timedelta(minutes=1) - MICROSECOND
)
moments = st.builds(_moment, days, minutes, within_minute)
times_of_day = st.builds(_moment, st.just(0), minutes, within_minute.map(abs))


def _window(ends: tuple[timedelta, timedelta]) -> Window:
    return Window(min(ends), max(ends))


whole = st.just(Window(-DAY, (DAYS + 1) * DAY)) | st.just(Window(None, None))
between = st.tuples(moments, moments).map(_window)
narrow = st.builds(lambda at, width: Window(at, at + width), moments, st.timedeltas(0 * DAY, DAY))
half_open = st.builds(Window, st.none(), moments) | st.builds(Window, moments, st.none())
windows = whole | whole | between | narrow | half_open

events = st.lists(
    st.builds(Event, moments, st.sampled_from(TYPES), st.sampled_from(SITES)),
    min_size=1,
    max_size=8,
)
changes: st.SearchStrategy[Step] = st.one_of(
    st.builds(Insert, events),
    st.builds(Copy, events),
    st.builds(Change, windows, st.sampled_from(TYPES), st.sampled_from(SITES)),
    st.builds(MoveWithinDay, windows, times_of_day),
    st.builds(Move, windows, moments),
    st.builds(Delete, windows),
)
refreshes: st.SearchStrategy[Step] = st.builds(Refresh, st.sampled_from(LEVELS), windows)
steps: st.SearchStrategy[Step] = st.one_of(
    changes,
    changes,
    refreshes,
    refreshes,
    st.builds(Convert, days, st.booleans()),
    st.builds(RunPolicy, st.sampled_from(LEVELS)),
    st.builds(RolledBack, changes),
    st.builds(Together, changes, changes),
)

# Few enough that each order of them comes up: rows come and go between refreshes of everything.
_at_noon = st.builds(Event, st.just(DAY / 2), st.just("view"), st.just(1))
coarse_steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(Insert, st.lists(_at_noon, min_size=1, max_size=1)),
    st.builds(Delete, whole),
    st.builds(Refresh, st.sampled_from(LEVELS), whole),
)
