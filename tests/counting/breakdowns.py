"""What breakdowns must equal, by plain SQL, and events of many users, pages and elements."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString

from hypothesis import strategies as st
from psycopg import Connection

from tests.counting.counts import refresh
from tests.counting.steps import (
    SITES,
    TYPES,
    Change,
    Convert,
    Delete,
    Move,
    MoveWithinDay,
    Refresh,
    RolledBack,
    RunPolicy,
    Step,
    Together,
    days,
    moments,
    times_of_day,
    windows,
)

# Each family's finer level first: the other is made of it.
BREAKDOWN_LEVELS = tuple(
    f"{family}_{level}"
    for family in ("page_views", "element_clicks", "users")
    for level in ("quarter_hour", "daily")
)

INSERT: LiteralString = """
insert into events (timestamp, event_id, site_id, user_id, event_type, payload)
select timestamp, gen_random_uuid(), site_id, user_id, event_type::event_type, payload::jsonb
from unnest(%s::timestamptz[], %s::smallint[], %s::text[], %s::text[], %s::text[])
    as event (timestamp, site_id, user_id, event_type, payload)
"""

IN_RANGE: LiteralString = """
    site_id = %(site)s
    and timestamp >= coalesce(%(start)s::timestamptz, '-infinity')
    and timestamp < coalesce(%(end)s::timestamptz, 'infinity')
"""
TOP_PAGES: LiteralString = "select * from top_pages(%(start)s, %(end)s, %(site)s::smallint, 3)"
RAW_TOP_PAGES: LiteralString = f"""
select path, count(*)
from events cross join lateral page_path(payload ->> 'url') as path
where event_type = 'view' and path is not null and {IN_RANGE}
group by path
order by count(*) desc, path collate "C"
limit 3
"""
TOP_ELEMENTS: LiteralString = (
    "select * from top_elements(%(start)s, %(end)s, %(site)s::smallint, 3)"
)
RAW_TOP_ELEMENTS: LiteralString = f"""
select element, count(*)
from events cross join lateral clicked_element(payload) as element
where event_type = 'click' and element is not null and {IN_RANGE}
group by element
order by count(*) desc, element collate "C"
limit 3
"""
ACTIVE_USERS: LiteralString = "select active_users(%(start)s, %(end)s, %(site)s::smallint)"
RAW_ACTIVE_USERS: LiteralString = f"select count(distinct user_id) from events where {IN_RANGE}"

ACTIVE_USERS_OVER_TIME: LiteralString = """
select (bucket at time zone %(tz)s)::date, active_users
from active_users_over_time(%(start)s, %(end)s, %(tz)s, %(site)s::smallint)
"""
RAW_ACTIVE_USERS_OVER_TIME: LiteralString = f"""
select day::date, count(distinct user_id)
from generate_series(
    date_trunc('day', %(start)s::timestamptz at time zone %(tz)s),
    (%(end)s::timestamptz - interval '1 microsecond') at time zone %(tz)s,
    interval '1 day'
) as day
left join events on (timestamp at time zone %(tz)s)::date = day and {IN_RANGE}
where %(start)s::timestamptz < %(end)s::timestamptz
group by day
union all
select null, count(distinct user_id) from events where {IN_RANGE}
order by 1 nulls last
"""

PAIRS = (
    (TOP_PAGES, RAW_TOP_PAGES),
    (TOP_ELEMENTS, RAW_TOP_ELEMENTS),
    (ACTIVE_USERS, RAW_ACTIVE_USERS),
)


def rows(connection: Connection, query: LiteralString, **values: object) -> list[tuple[Any, ...]]:
    """Return a query's rows."""
    return connection.execute(query, values).fetchall()


def assert_breakdowns_exact(
    connection: Connection, start: object = None, end: object = None, site: int = 1
) -> None:
    """Fail unless each breakdown equals its plain SQL counterpart."""
    for query, plain in PAIRS:
        values = {"start": start, "end": end, "site": site}
        assert rows(connection, query, **values) == rows(connection, plain, **values)


def assert_days_exact(
    connection: Connection, start: datetime, end: datetime, tz: str, site: int = 1
) -> None:
    """Fail unless the users of each day, and of the range, equal their plain SQL counterpart."""
    values = {"start": start, "end": end, "tz": tz, "site": site}
    assert rows(connection, ACTIVE_USERS_OVER_TIME, **values) == rows(
        connection, RAW_ACTIVE_USERS_OVER_TIME, **values
    )


@dataclass(frozen=True)
class Visit:
    """An event of one of some users, on one of some pages or elements."""

    at: timedelta
    event_type: str
    site: int
    user: str
    payload: dict[str, str]


@dataclass(frozen=True)
class Visits:
    """Rows by INSERT."""

    visits: list[Visit]

    def take(self, connection: Connection, first_day: datetime) -> None:
        """Insert them."""
        insert_visits(connection, first_day, self.visits)


def insert_visits(connection: Connection, first_day: datetime, visits: list[Visit]) -> None:
    """Insert events at moments that are counted from a day."""
    moments = [first_day + visit.at for visit in visits]
    columns = [(v.site, v.user, v.event_type, json.dumps(v.payload)) for v in visits]
    connection.execute(INSERT, [moments, *map(list, zip(*columns, strict=True))])


@dataclass(frozen=True)
class RefreshAll:
    """A refresh of every level of every family."""

    def take(self, connection: Connection, first_day: datetime) -> None:
        """Refresh them."""
        refresh_all(connection)


def refresh_all(connection: Connection) -> None:
    """Refresh every level of every family, the finer ones first."""
    for level in BREAKDOWN_LEVELS:
        refresh(connection, level)


# Few, some of which are the same page or element, and some none.
_payloads = st.sampled_from(
    [
        {"url": "/"},
        {"url": "https://a.example/?q=1", "element_id": "buy"},
        {"url": "https://b.example/b", "element_id": "", "text": "buy"},
        {"url": "/b#part", "xpath": "//a", "text": "Buy"},
        {"url": "/Ä"},
        {},
    ]
)
visits = st.lists(
    st.builds(
        Visit,
        moments,
        st.sampled_from(TYPES),
        st.sampled_from(SITES),
        st.sampled_from(["a", "b", "B", "ä"]),
        _payloads,
    ),
    min_size=1,
    max_size=12,
)
_changes: st.SearchStrategy[Step] = st.one_of(
    st.builds(Visits, visits),
    st.builds(Visits, visits),
    st.builds(Change, windows, st.sampled_from(TYPES), st.sampled_from(SITES)),
    st.builds(MoveWithinDay, windows, times_of_day),
    st.builds(Move, windows, moments),
    st.builds(Delete, windows),
)
_levels = st.sampled_from(BREAKDOWN_LEVELS)
_refreshes: st.SearchStrategy[Step] = st.builds(Refresh, _levels, windows)
breakdown_steps: st.SearchStrategy[Step] = st.one_of(
    _changes,
    _changes,
    _refreshes,
    _refreshes,
    st.builds(RefreshAll),
    st.builds(RefreshAll),
    st.builds(Convert, days, st.booleans()),
    st.builds(RunPolicy, _levels),
    st.builds(RolledBack, _changes),
    st.builds(Together, _changes, _changes),
)
