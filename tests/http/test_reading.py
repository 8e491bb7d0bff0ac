"""GET /events and GET /events/{event_id}: filters, pages, cursors, and what is not there."""

import asyncio
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.database.migrations import migrate
from service.events import new_event_id
from service.reading.pages import NEWEST, WIDEST, read_page, windows
from service.reading.parameters import PageQuery
from service.reading.positions import FIRST, LAST, Position
from tests.counting.counts import connect, fill, stop_jobs, stop_scheduler
from tests.http.stored_events import (
    START,
    Choice,
    Stored,
    as_documents,
    choices,
    many_events,
    milliseconds,
    put,
    read,
)
from tests.http.support import as_doubles, assert_problem, event, fields
from tests.support.databases import Database, blocked_table, new_database
from tests.support.services import running_service

few = settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def page(service: httpx.Client, query: str) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page's events, and the cursor to the next one."""
    answer = service.get(f"/events?{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert list(document) == ["events", "next"]
    return [read(one) for one in document["events"]], document["next"]


def pages(service: httpx.Client, choice: Choice, limit: int) -> Iterator[list[dict[str, Any]]]:
    """Yield page after page until there is no next one."""
    cursor: str | None = None
    while True:
        events, cursor = page(service, choice.query(limit=limit, cursor=cursor))
        yield events
        if cursor is None:
            return
        assert len(events) == limit


def numbered(count: int, at: datetime = START, **other: Any) -> list[Stored]:
    """Return events of one instant."""
    row = Stored(at, uuid4(), 1, "u", "view", {})
    return [row._replace(event_id=uuid4(), **other) for _ in range(count)]


# What is posted is read


@pytest.mark.parametrize("given_id", [False, True])
def test_what_is_posted_is_read_back(service: httpx.Client, given_id: bool) -> None:
    body = event("user-ä", title='"\\\n', deep={"list": [1, 2.5, None, {"a": True}]})
    if given_id:
        body["event_id"] = str(UUID(bytes=new_event_id(milliseconds(datetime.now(UTC)))))
    posted = service.post("/events", json=body).json()
    answer = service.get(f"/events/{posted['event_id']}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == body | posted | {"site": 1}
    assert service.get("/events?limit=1").json()["events"] == [answer.json()]


def test_numbers_are_read_as_they_are_stored(service: httpx.Client) -> None:
    posted = service.post("/events", json=event(big=10**40, exact=0.1)).json()
    text = service.get(f"/events/{posted['event_id']}").text
    assert f'"big": {10**40}' in text
    assert '"exact": 0.1' in text


# One event


@few
@given(events=many_events)
def test_an_event_is_found_if_its_id_tells_its_time(
    service: httpx.Client, database: Database, events: list[Stored]
) -> None:
    database.execute("delete from events")
    put(database, events)
    for one in events:
        told = (
            one.timestamp.microsecond % 1000 == 0
            and one.event_id.int >> 76 == milliseconds(one.timestamp) << 4 | 7
        )
        for site in (1, 2):
            answer = service.get(f"/events/{one.event_id}?site={site}")
            if told and site == one.site_id:
                assert as_doubles(read(answer.json())) == as_doubles(one.document)
            else:
                assert_problem(answer, 404)


@pytest.mark.parametrize(
    "event_id",
    [
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
        "00000000-0000-7000-8000-000000000000",
        "01968924-A29D-72D0-9B6B-4D7F0590B361",
    ],
)
def test_an_event_that_there_is_not_is_404(service: httpx.Client, event_id: str) -> None:
    problem = assert_problem(service.get(f"/events/{event_id}"), 404)
    assert problem["type"] == "urn:tallymark:problem:not-found"
    assert service.head(f"/events/{event_id}").status_code == 404


def test_an_id_may_be_in_capitals(service: httpx.Client) -> None:
    event_id = service.post("/events", json=event()).json()["event_id"]
    assert service.get(f"/events/{event_id.upper()}").json()["event_id"] == event_id


@pytest.mark.parametrize(
    "event_id",
    [
        "1",
        "019ab697e87b7d57872cf4cea7318df9",
        "{019ab697-e87b-7d57-872c-f4cea7318df9}",
        "urn:uuid:019ab697-e87b-7d57-872c-f4cea7318df9",
        "019ab697-e87b-7d57-872c-f4cea7318dfg",
        "019ab697-e87b-7d57-872c-f4cea7318df9%0a",
        "%00",
        "'; drop table events; --",
        "\u066019ab697-e87b-7d57-872c-f4cea7318df9",
        "x" * 5000,
    ],
)
def test_what_is_no_uuid_is_400(service: httpx.Client, event_id: str) -> None:
    answer = service.get(f"/events/{event_id}")
    assert_problem(answer, 400)
    assert fields(answer) == {"event_id"}


@pytest.mark.parametrize("query", ["site=0", "site=x", "site=", "site=1&site=1"])
def test_a_wrong_site_is_400(service: httpx.Client, query: str) -> None:
    answer = service.get(f"/events/{uuid4()}?{query}")
    assert_problem(answer, 400)
    assert fields(answer) == {"site"}


def test_an_event_has_no_other_parameter(service: httpx.Client) -> None:
    answer = service.get(f"/events/{uuid4()}?user_id=1")
    assert_problem(answer, 400)
    assert fields(answer) == {"user_id"}


# Pages


@few
@given(events=many_events, choice=choices(), limit=st.integers(1, 12))
def test_pages_are_what_plain_sql_chooses(
    service: httpx.Client, database: Database, events: list[Stored], choice: Choice, limit: int
) -> None:
    database.execute("delete from events")
    put(database, events)
    found = [one for page in pages(service, choice, limit) for one in page]
    assert found == as_documents(choice.chosen(database)[::-1])


def test_no_events_are_an_empty_page(service: httpx.Client, no_events: None) -> None:
    assert service.get("/events").json() == {"events": [], "next": None}


def test_a_page_holds_a_hundred_events(
    service: httpx.Client, database: Database, no_events: None
) -> None:
    put(database, numbered(101))
    assert [len(events) for events in pages(service, Choice(), 100)] == [100, 1]
    events, cursor = page(service, "")
    assert len(events) == 100
    assert cursor is not None
    assert len(page(service, "limit=1000")[0]) == 101


def test_the_last_page_says_that_it_is_the_last(
    service: httpx.Client, database: Database, no_events: None
) -> None:
    put(database, numbered(4))
    assert [len(events) for events in pages(service, Choice(), 2)] == [2, 2]


def test_events_of_any_age_are_read(
    service: httpx.Client, database: Database, no_events: None
) -> None:
    """From PostgreSQL's first days to its last, which no datetime holds: SQL can store them."""
    moments = ["4713-01-01 BC", "0001-01-01", "1970-01-01", "2019-02-03", "now", "9999-12-31"]
    moments += ["294246-12-31"]
    for moment in moments:
        database.execute(
            "insert into events (timestamp, event_id, user_id, event_type, payload) "
            "values (%s, gen_random_uuid(), %s, 'view', '{}')",
            [moment, moment],
        )
    for limit in (1, 2, 100):
        cursor, found = "", []
        while cursor is not None:
            answer = service.get(f"/events?limit={limit}{cursor and '&cursor='}{cursor}").json()
            found += [one["user_id"] for one in answer["events"]]
            cursor = answer["next"]
        assert found == moments[::-1]


def test_pages_keep_their_place_while_events_come(
    service: httpx.Client, database: Database, no_events: None
) -> None:
    """With three instants of many events each, newer, older and equal ones come between pages."""
    moments = [START, START + timedelta(seconds=1), START + timedelta(days=30)]
    there = [row for moment in moments for row in numbered(20, moment)]
    put(database, there)
    seen: list[str] = []
    for events in pages(service, Choice(), 7):
        seen += [one["event_id"] for one in events]
        put(database, [numbered(1, moment)[0] for moment in moments])
    assert len(seen) == len(set(seen))
    originals = {str(row.event_id) for row in there}
    expected = [str(row.event_id) for row in sorted(there)[::-1]]
    assert [one for one in seen if one in originals] == expected


def test_a_cursor_is_a_place_also_among_other_filters(
    service: httpx.Client, database: Database, no_events: None
) -> None:
    put(database, numbered(5, START + timedelta(hours=1)))
    put(database, numbered(5, START, event_type="click"))
    _, cursor = page(service, "event_type=view&limit=2")
    events, _ = page(service, f"event_type=click&cursor={cursor}")
    assert len(events) == 5
    assert page(service, f"start_date=2025-05-28&cursor={cursor}") == ([], None)


CURSOR = Position(0, UUID(int=0)).cursor()


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=0", {"limit"}),
        ("limit=1001", {"limit"}),
        ("limit=ten", {"limit"}),
        ("limit=1.0", {"limit"}),
        ("limit=%2B1", {"limit"}),
        ("limit=", {"limit"}),
        ("cursor=", {"cursor"}),
        ("cursor=x", {"cursor"}),
        (f"cursor={CURSOR}&cursor={CURSOR}", {"cursor"}),
        (f"cursor={CURSOR}A", {"cursor"}),
        (f"cursor={CURSOR[:-4]}", {"cursor"}),
        (f"cursor={CURSOR[:-1]}*", {"cursor"}),
        (f"cursor={CURSOR[:-1]}%C3%A4", {"cursor"}),
        (f"cursor={Position(FIRST - 1, UUID(int=0)).cursor()}", {"cursor"}),
        (f"cursor={Position(LAST, UUID(int=0)).cursor()}", {"cursor"}),
        ("user_id=", {"user_id"}),
        ("user_id=%20", {"user_id"}),
        ("user_id=%00", {"user_id"}),
        ("user_id=" + "x" * 257, {"user_id"}),
        ("event_type=purchase", {"event_type"}),
        ("start_date=2025-05-29&end_date=2025-05-28", {"start_date"}),
        ("start_date=x&tz=y&site=z", {"start_date", "tz", "site"}),
        ("format=csv", {"format"}),
        ("userid=1", {"userid"}),
    ],
)
def test_a_wrong_query_reads_nothing(service: httpx.Client, query: str, named: set[str]) -> None:
    answer = service.get(f"/events?{query}")
    problem = assert_problem(answer, 400)
    assert problem["type"] == "urn:tallymark:problem:invalid-query"
    assert problem["detail"] == "Nothing was read."
    assert fields(answer) == named


@pytest.mark.parametrize("at", [FIRST, LAST - 1])
def test_a_cursor_at_either_end_of_time_is_read(service: httpx.Client, at: int) -> None:
    assert service.get(f"/events?cursor={Position(at, UUID(int=1)).cursor()}").status_code == 200


def test_a_day_is_the_day_of_its_zone(
    service: httpx.Client, database: Database, no_events: None
) -> None:
    put(database, [*numbered(1, START - timedelta(hours=2)), *numbered(2, START)])
    put(database, numbered(4, START + timedelta(hours=22)))
    day = "start_date=2025-05-27&end_date=2025-05-27"
    assert len(page(service, day)[0]) == 6
    assert len(page(service, f"{day}&tz=Europe/Berlin")[0]) == 3


@pytest.mark.parametrize("path", ["/events", f"/events/{UUID(bytes=new_event_id(0))}"])
def test_what_is_not_read_in_time_is_503(shared_database_url: str, native: bool, path: str) -> None:
    with (
        running_service(database_url=shared_database_url, read_deadline_seconds=0.5) as base_url,
        httpx.Client(base_url=base_url, timeout=20) as service,
    ):
        service.get("/events").raise_for_status()
        with blocked_table(shared_database_url, native=native):
            answer = service.get(path)
    problem = assert_problem(answer, 503)
    assert problem["type"] == "urn:tallymark:problem:events-unavailable"
    assert int(answer.headers["retry-after"]) > 0


# Cursors and windows


@given(at=st.integers(FIRST, LAST - 1), event_id=st.uuids())
def test_a_cursor_says_its_position(at: int, event_id: UUID) -> None:
    cursor = Position(at, event_id).cursor()
    assert len(cursor) == 32
    assert Position.of_cursor(cursor) == (at, event_id)


@given(
    start=st.none() | st.integers(FIRST, LAST),
    end=st.none() | st.integers(FIRST, LAST),
    now=st.integers(FIRST, LAST),
)
def test_windows_make_up_the_range(start: int | None, end: int | None, now: int) -> None:
    found = list(windows(start, end, now))
    assert found[0][1] == end
    assert found[-1][0] == start
    for (newer_start, _), (older_start, older_end) in itertools.pairwise(found):
        assert newer_start is not None
        assert older_end is not None
        assert newer_start == older_end
        assert older_start is None or older_start < older_end
    assert len(found) <= 8
    assert NEWEST < WIDEST


DAYS = 200
LOCKED_CHUNKS = """
select count(*) from pg_locks
join pg_class on pg_class.oid = relation
join timescaledb_information.chunks on chunk_name = relname
where pid = pg_backend_pid() and relkind = 'r' and hypertable_name = 'events'
"""


@pytest.mark.native(reason="the embedded server does not list its locks")
@pytest.mark.parametrize(("query", "chunks"), [({}, 7), ({"user_id": "nobody"}, DAYS)])
def test_a_page_touches_only_the_chunks_that_it_needs(
    server_url: str, query: dict[str, str], chunks: int
) -> None:
    now = datetime.now(UTC)
    with new_database(server_url) as url:
        stop_scheduler(url)
        migrate(url)
        with connect(url) as connection:
            stop_jobs(connection)
            fill(connection, str(now - timedelta(days=DAYS)), str(now), "15 minutes")
        assert asyncio.run(_touched(url, PageQuery.model_validate(query))) <= chunks + 1


async def _touched(url: str, query: PageQuery) -> int:
    async with (
        await psycopg.AsyncConnection.connect(url) as connection,
        connection.transaction(),
    ):
        await read_page(connection, query)
        found = await (await connection.execute(LOCKED_CHUNKS)).fetchone()
        assert found is not None
        return int(found[0])
