"""GET /analytics/event-counts and event-counts-by-type: filters, and their answers over HTTP."""

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.http.support import assert_problem, fields
from tests.support.databases import Database

TOTAL = "/analytics/event-counts"
BY_TYPE = "/analytics/event-counts-by-type"
BOTH = pytest.mark.parametrize("path", [TOTAL, BY_TYPE])

EVENTS = [
    ("2025-05-27T23:59:59.999999Z", "view"),
    ("2025-05-28T00:00:00Z", "view"),
    ("2025-05-28T00:00:00.000001Z", "click"),
    ("2025-05-28T09:30:00Z", "view"),
    ("2025-05-28T09:30:00.000001Z", "click"),
    ("2025-05-28T22:30:00Z", "location"),
    ("2025-05-28T23:59:59.999999Z", "view"),
    ("2025-05-29T00:00:00Z", "click"),
    ("2025-03-30T01:30:00Z", "view"),
    ("2025-10-26T00:30:00Z", "view"),
    ("2025-10-26T01:30:00Z", "click"),
    ("2011-12-30T09:59:59Z", "view"),
    ("2011-12-30T10:00:00Z", "click"),
]


def insert(connection: psycopg.Connection[Any], events: Iterable[tuple[str, str]]) -> None:
    connection.cursor().executemany(
        """
        insert into events (timestamp, event_id, user_id, event_type, payload)
        values (%s, gen_random_uuid(), 'u', %s::event_type, '{}')
        """,
        list(events),
    )


def refresh(connection: psycopg.Connection[Any]) -> None:
    """Refresh the minutes; where a policy's job does so at the same time, once more after it."""
    deadline = time.monotonic() + 60
    while True:
        try:
            connection.execute(
                "call refresh_continuous_aggregate('event_counts_minute', null, null)"
            )
        except psycopg.errors.LockNotAvailable:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


@pytest.fixture(scope="module", autouse=True)
def events(database: Database) -> None:
    """The events above, two at another site, and aggregates that hold some of them."""
    insert(database, EVENTS[::2])
    refresh(database)
    insert(database, EVENTS[1::2])
    database.execute(
        """
        insert into events (timestamp, event_id, site_id, user_id, event_type, payload)
        select '2025-05-28T12:00:00Z', gen_random_uuid(), 2, 'u', type::event_type, '{}'
        from unnest(array['view', 'view', 'location']) as type
        """
    )


def total(service: httpx.Client, query: str = "") -> int:
    answer = service.get(f"{TOTAL}?{query}" if query else TOTAL)
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert list(document) == ["total_events"]
    return int(document["total_events"])


def by_type(service: httpx.Client, query: str = "") -> dict[str, int]:
    answer = service.get(f"{BY_TYPE}?{query}" if query else BY_TYPE)
    assert answer.status_code == 200, answer.text
    document: dict[str, int] = answer.json()
    return document


def test_all_events_are_counted(service: httpx.Client) -> None:
    assert total(service) == len(EVENTS)
    assert by_type(service) == {"view": 7, "click": 5, "location": 1}


@pytest.mark.parametrize(("name", "count"), [("view", 7), ("click", 5), ("location", 1)])
def test_one_type_is_counted(service: httpx.Client, name: str, count: int) -> None:
    assert total(service, f"event_type={name}") == count


def test_filters_are_combined(service: httpx.Client) -> None:
    query = "event_type=click&start_date=2025-05-28&end_date=2025-05-28"
    assert total(service, query) == 2


RANGES = [
    ("start_date=2025-05-28", 9),
    ("end_date=2025-05-28", 10),
    ("start_date=2025-05-28&end_date=2025-05-28", 6),
    ("start_date=2025-05-28&end_date=2025-05-29", 7),
    ("start_date=2025-05-28T00:00:00Z&end_date=2025-05-28T00:00:00Z", 1),
    ("start_date=2025-05-28T00:00:00.000001Z&end_date=2025-05-28T09:30:00Z", 2),
    ("start_date=2025-05-28T00:00:00.0000001Z&end_date=2025-05-28T09:30:00.000001Z", 3),
    ("start_date=2025-05-28&end_date=2025-05-28T09:30", 3),
    ("start_date=2025-05-28T11:30:00+02:00&end_date=2025-05-28T11:30:00+02:00", 1),
    ("start_date=2025-05-28T11:30:00%2B02:00&end_date=2025-05-28T11:30:00%2B02:00", 1),
    ("start_date=2025-05-28T04:30-05:00&end_date=2025-05-28T04:30-05:00", 1),
    ("start_date=2025-05-29&end_date=2025-05-29&tz=Europe/Berlin", 3),
    ("start_date=2025-05-29&end_date=2025-05-29&tz=Europe%2FBerlin", 3),
    ("start_date=2025-05-28T11:30&end_date=2025-05-28T11:30&tz=Europe/Berlin", 1),
    ("start_date=2025-05-28T09:30Z&end_date=2025-05-28T09:30Z&tz=Europe/Berlin", 1),
    ("start_date=2025-03-30T02:30&end_date=2025-03-30T02:30&tz=Europe/Berlin", 1),
    ("start_date=2025-10-26T02:30&end_date=2025-10-26T02:30&tz=Europe/Berlin", 1),
    ("start_date=2025-10-26&end_date=2025-10-26&tz=Europe/Berlin", 2),
    ("start_date=2011-12-29&end_date=2011-12-29&tz=Pacific/Apia", 1),
    ("start_date=2011-12-30&end_date=2011-12-30&tz=Pacific/Apia", 0),
    ("start_date=2011-12-31&end_date=2011-12-31&tz=Pacific/Apia", 1),
    ("start_date=0001-01-01&end_date=9999-12-31", 13),
    ("start_date=0001-01-01T00:00%2B23:59&end_date=9999-12-31T23:59:59-23:59", 13),
    ("start_date=9999-12-31", 0),
    ("end_date=0001-01-01", 0),
    ("start_date=2024-01-01&end_date=2024-12-31", 0),
]


@pytest.mark.parametrize(("query", "count"), RANGES)
def test_a_range_holds_both_of_its_ends(service: httpx.Client, query: str, count: int) -> None:
    assert total(service, query) == count
    assert sum(by_type(service, query).values()) == count


def test_types_with_no_events_are_left_out(service: httpx.Client) -> None:
    query = "start_date=2025-05-28T09:30Z&end_date=2025-05-28T09:31Z"
    assert by_type(service, query) == {"view": 1, "click": 1}


def test_no_events_are_an_empty_object(service: httpx.Client) -> None:
    assert by_type(service, "start_date=2030-01-01") == {}
    assert total(service, "start_date=2030-01-01") == 0
    assert total(service, "start_date=2030-01-01&event_type=view") == 0


def test_a_site_is_counted_by_itself(service: httpx.Client) -> None:
    assert by_type(service, "site=2") == {"view": 2, "location": 1}
    assert total(service, "site=2&event_type=view") == 2
    assert total(service, "site=1") == len(EVENTS)
    assert by_type(service, "site=32767") == {}


@BOTH
def test_the_order_of_parameters_does_not_matter(service: httpx.Client, path: str) -> None:
    ranges = ["start_date=2025-05-28", "end_date=2025-05-29", "tz=Europe/Berlin", "site=1"]
    answers = [service.get(f"{path}?{'&'.join(order)}") for order in (ranges, ranges[::-1])]
    assert answers[0].json() == answers[1].json()
    assert answers[0].status_code == 200


@BOTH
@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("start_date=yesterday", {"start_date"}),
        ("start_date=2025-02-30", {"start_date"}),
        ("end_date=2025-05-28T25:00", {"end_date"}),
        ("start_date=2025-05-28T09:30.5Z", {"start_date"}),
        ("start_date=x&end_date=y", {"start_date", "end_date"}),
        ("start_date=2025-05-29&end_date=2025-05-28", {"start_date"}),
        ("start_date=2025-05-28T00:00Z&end_date=2025-05-28T00:00%2B00:01", {"start_date"}),
        ("start_date=", {"start_date"}),
        ("start_date", {"start_date"}),
        ("end_date=&tz=", {"end_date", "tz"}),
        ("start_date=2025-05-28&start_date=2025-05-28", {"start_date"}),
        ("tz=Mars/Olympus", {"tz"}),
        ("tz=%2B02:00", {"tz"}),
        ("tz=../../etc/passwd", {"tz"}),
        ("tz=Europe/Berlin%00", {"tz"}),
        ("site=0", {"site"}),
        ("site=32768", {"site"}),
        ("site=one", {"site"}),
        ("startdate=2025-05-28", {"startdate"}),
        ("start=2025-05-28&till=2025-05-29", {"start", "till"}),
        ("START_DATE=2025-05-28", {"START_DATE"}),
        ("%00=1", {"\0"}),
        ("=", {""}),
        ("user_id=1", {"user_id"}),
    ],
)
def test_a_wrong_query_counts_nothing(
    service: httpx.Client, path: str, query: str, named: set[str]
) -> None:
    answer = service.get(f"{path}?{query}")
    problem = assert_problem(answer, 400)
    assert problem["type"] == "urn:tallymark:problem:invalid-query"
    assert fields(answer) == named
    assert all(error["message"] for error in problem["errors"])


@pytest.mark.parametrize("value", ["", "purchase", "View", "view%20", "view,click", "%00"])
def test_a_wrong_type_counts_nothing(service: httpx.Client, value: str) -> None:
    answer = service.get(f"{TOTAL}?event_type={value}")
    assert_problem(answer, 400)
    assert fields(answer) == {"event_type"}


def test_counts_by_type_take_no_type(service: httpx.Client) -> None:
    answer = service.get(f"{BY_TYPE}?event_type=view")
    assert_problem(answer, 400)
    assert fields(answer) == {"event_type"}


INJECTIONS = [
    "'; drop table events; --",
    "2025-05-28' or '1'='1",
    "infinity",
    "now()",
    "1; select pg_sleep(10)",
    "%s",
    "\0",
    "\x1b[31m",
    "\r\nX-Injected: 1",
]


@BOTH
@pytest.mark.parametrize("name", ["start_date", "end_date", "tz", "site", "event_type", "other"])
@pytest.mark.parametrize("text", INJECTIONS)
def test_an_injection_is_refused(service: httpx.Client, path: str, name: str, text: str) -> None:
    answer = service.get(f"{path}?{name}={quote(text)}")
    assert_problem(answer, 400)
    assert fields(answer) == {name}
    assert "x-injected" not in answer.headers
    assert total(service) == len(EVENTS)


@BOTH
def test_what_is_wrong_with_a_long_query_is_told_in_a_few_kilobytes(
    service: httpx.Client, path: str
) -> None:
    answer = service.get(path + "?" + "&".join(f"x{number}=1" for number in range(3000)))
    assert_problem(answer, 400)
    assert len(answer.content) < 10_000


START = datetime.fromisoformat("2025-05-27T00:00Z")
instants = st.integers(0, 3 * 24 * 3600 * 10).map(lambda n: START + timedelta(milliseconds=100 * n))
edges = st.sampled_from([datetime.fromisoformat(text) for text, _ in EVENTS]) | instants


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(first=edges, second=edges)
def test_any_range_equals_a_raw_count(
    service: httpx.Client, database: Database, first: datetime, second: datetime
) -> None:
    start, end = sorted([first, second])
    query = f"start_date={quote(start.isoformat())}&end_date={quote(end.isoformat())}"
    raw = database.execute(
        """
        select event_type::text, count(*) from events
        where timestamp between %s and %s and site_id = 1 group by 1
        """,
        [start, end],
    )
    counts: dict[str, int] = dict(raw.fetchall())
    assert by_type(service, query) == counts
    assert total(service, query) == sum(counts.values())
