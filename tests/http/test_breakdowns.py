"""GET /analytics/top-pages, top-elements and active-users: their answers, and what is refused."""

import json
from typing import Any

import httpx
import pytest

from tests.counting.breakdowns import INSERT
from tests.counting.counts import refresh
from tests.http.support import assert_problem, fields
from tests.support.databases import Database

PAGES = "/analytics/top-pages"
ELEMENTS = "/analytics/top-elements"
USERS = "/analytics/active-users"
ALL = pytest.mark.parametrize("path", [PAGES, ELEMENTS, USERS])

EVENTS: list[tuple[str, str, str, dict[str, str]]] = [
    ("2025-05-27T22:30:00Z", "ada", "view", {"url": "https://example.com/"}),
    ("2025-05-28T09:00:00Z", "ada", "view", {"url": "/pricing?from=home#plans"}),
    ("2025-05-28T09:20:00Z", "bob", "view", {"url": "https://www.example.com/pricing"}),
    ("2025-05-28T09:20:05Z", "bob", "click", {"element_id": "buy", "text": "Buy now"}),
    ("2025-05-28T09:20:07Z", "bob", "click", {"xpath": "//main/a[2]", "text": "Help"}),
    ("2025-05-28T09:20:09Z", "bob", "click", {}),
    ("2025-05-28T23:59:59.999999Z", "ada", "click", {"element_id": "buy"}),
    ("2025-05-30T10:00:00Z", "ada", "click", {"text": "Read more"}),
    ("2025-05-30T10:00:01Z", "eve", "location", {}),
]


def insert(database: Database, events: list[tuple[str, str, str, dict[str, str]]]) -> None:
    moments, users, types, payloads = map(list, zip(*events, strict=True))
    sites = [1] * len(events)
    database.execute(INSERT, [moments, sites, users, types, list(map(json.dumps, payloads))])


@pytest.fixture(scope="module", autouse=True)
def events(database: Database) -> None:
    """The events above, and aggregates that hold some of them."""
    insert(database, EVENTS[::2])
    for family in ("page_views", "element_clicks", "users"):
        refresh(database, f"{family}_quarter_hour")
    insert(database, EVENTS[1::2])


def answer(service: httpx.Client, path: str, query: str = "") -> Any:
    found = service.get(f"{path}?{query}" if query else path)
    assert found.status_code == 200, found.text
    return found.json()


def test_pages_by_their_views(service: httpx.Client) -> None:
    pages = [{"path": "/pricing", "views": 2}, {"path": "/", "views": 1}]
    assert answer(service, PAGES) == {"pages": pages}
    assert answer(service, PAGES, "limit=1") == {"pages": pages[:1]}
    assert answer(service, PAGES, "start_date=2025-05-28") == {"pages": pages[:1]}
    assert answer(service, PAGES, "start_date=2025-05-28&tz=Europe/Berlin") == {"pages": pages}
    assert answer(service, PAGES, "site=2") == {"pages": []}


def test_elements_by_their_clicks(service: httpx.Client) -> None:
    elements = [
        {"element": "buy", "clicks": 2},
        {"element": "//main/a[2]", "clicks": 1},
        {"element": "Read more", "clicks": 1},
    ]
    assert answer(service, ELEMENTS) == {"elements": elements}
    assert answer(service, ELEMENTS, "limit=2") == {"elements": elements[:2]}
    assert answer(service, ELEMENTS, "end_date=2025-05-28T23:59:59.999998Z") == {
        "elements": [{"element": "//main/a[2]", "clicks": 1}, {"element": "buy", "clicks": 1}]
    }
    assert answer(service, ELEMENTS, "start_date=2030-01-01") == {"elements": []}


@pytest.mark.parametrize(
    ("query", "users"),
    [
        ("", 3),
        ("start_date=2025-05-28&end_date=2025-05-28", 2),
        ("start_date=2025-05-28T09:20Z&end_date=2025-05-28T09:20:09Z", 1),
        ("start_date=2025-05-29&end_date=2025-05-29", 0),
        ("site=2", 0),
    ],
)
def test_users_are_counted_once(service: httpx.Client, query: str, users: int) -> None:
    assert answer(service, USERS, query) == {"active_users": users}


def days(service: httpx.Client, query: str) -> tuple[int, dict[str, int]]:
    document = answer(service, USERS, f"interval=day&{query}")
    assert list(document) == ["active_users", "days"]
    return document["active_users"], {day["date"]: day["active_users"] for day in document["days"]}


def test_users_of_each_day(service: httpx.Client) -> None:
    total, by_day = days(service, "start_date=2025-05-27&end_date=2025-05-30")
    assert total == 3
    assert by_day == {"2025-05-27": 1, "2025-05-28": 2, "2025-05-29": 0, "2025-05-30": 2}
    assert list(by_day) == sorted(by_day)


def test_days_are_those_of_the_zone(service: httpx.Client) -> None:
    query = "start_date=2025-05-28&end_date=2025-05-29&tz=Europe/Berlin"
    assert days(service, query) == (2, {"2025-05-28": 2, "2025-05-29": 1})


def test_days_with_an_open_start_begin_at_the_first_event(service: httpx.Client) -> None:
    assert days(service, "end_date=2025-05-28") == (2, {"2025-05-27": 1, "2025-05-28": 2})
    assert days(service, "end_date=2025-05-20") == (0, {})
    assert days(service, "site=2") == (0, {})


def test_days_at_the_ends_of_the_calendar(service: httpx.Client) -> None:
    first = "start_date=0001-01-01T00:00Z&end_date=0001-01-02T00:00Z&tz=America/New_York"
    assert days(service, first)[0] == 0
    last = "start_date=9999-12-30T00:00Z&end_date=9999-12-31T23:59Z&tz=Pacific/Kiritimati"
    assert days(service, last)[0] == 0


@pytest.mark.parametrize(
    ("path", "query", "named"),
    [
        (PAGES, "limit=0", {"limit"}),
        (PAGES, "limit=1001", {"limit"}),
        (PAGES, "limit=1.0", {"limit"}),
        (PAGES, "limit=1_0", {"limit"}),
        (PAGES, "limit=-1", {"limit"}),
        (ELEMENTS, "limit=all", {"limit"}),
        (ELEMENTS, "limit=", {"limit"}),
        (ELEMENTS, "interval=day", {"interval"}),
        (USERS, "limit=10", {"limit"}),
        (USERS, "interval=week", {"interval"}),
        (USERS, "interval=day&start_date=1900-01-01", {"interval"}),
    ],
)
def test_a_wrong_query_counts_nothing(
    service: httpx.Client, path: str, query: str, named: set[str]
) -> None:
    found = service.get(f"{path}?{query}")
    assert_problem(found, 400)
    assert fields(found) == named


@ALL
@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("start_date=2025-05-29&end_date=2025-05-28", {"start_date"}),
        ("start_date=2025-02-30", {"start_date"}),
        ("tz=Mars/Olympus", {"tz"}),
        ("site=0", {"site"}),
        ("event_type=view", {"event_type"}),
        ("limits=1", {"limits"}),
    ],
)
def test_a_wrong_range_counts_nothing(
    service: httpx.Client, path: str, query: str, named: set[str]
) -> None:
    found = service.get(f"{path}?{query}")
    assert_problem(found, 400)
    assert fields(found) == named


@ALL
def test_1000_is_the_highest_limit_and_10_what_is_meant(service: httpx.Client, path: str) -> None:
    described = service.get("/openapi.json").json()["paths"][path]["get"]["parameters"]
    limits = [parameter["schema"] for parameter in described if parameter["name"] == "limit"]
    if path == USERS:
        assert limits == []
        return
    assert limits == [
        {"type": "integer", "default": 10, "minimum": 1, "maximum": 1000, "examples": [10]}
    ]
    assert answer(service, path, "limit=1000") == answer(service, path)
