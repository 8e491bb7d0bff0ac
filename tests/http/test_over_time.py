"""GET /analytics/event-counts-over-time: the columns of a chart, and what is refused."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from service.analytics.endpoints import bucket_label
from tests.http.support import assert_problem, fields
from tests.http.test_counts import EVENTS, edges, insert, refresh
from tests.support.databases import Database

PATH = "/analytics/event-counts-over-time"
TYPES = ["view", "click", "location"]


@pytest.fixture(scope="module", autouse=True)
def events(database: Database) -> None:
    """The events of the counts' tests, half of them in the aggregates."""
    insert(database, EVENTS[::2])
    refresh(database)
    insert(database, EVENTS[1::2])


def over_time(service: httpx.Client, query: str) -> dict[str, Any]:
    answer = service.get(f"{PATH}?{query}")
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    assert all(len(counts) == len(document["buckets"]) for counts in document["series"].values())
    return document


def test_days_of_a_zone(service: httpx.Client) -> None:
    query = "interval=day&start_date=2025-05-27&end_date=2025-05-30&tz=Europe/Berlin"
    assert over_time(service, query) == {
        "interval": "day",
        "tz": "Europe/Berlin",
        "buckets": [f"2025-05-{day}T00:00:00+02:00" for day in (27, 28, 29, 30)],
        "series": {"view": [0, 3, 1, 0], "click": [0, 2, 1, 0], "location": [0, 0, 1, 0]},
    }


def test_days_on_which_clocks_change(service: httpx.Client) -> None:
    query = (
        "interval=day&start_date=2025-03-29&end_date=2025-03-31&tz=Europe/Berlin&event_type=view"
    )
    document = over_time(service, query)
    assert document["buckets"] == [
        "2025-03-29T00:00:00+01:00",
        "2025-03-30T00:00:00+01:00",
        "2025-03-31T00:00:00+02:00",
    ]
    assert document["series"] == {"view": [0, 1, 0]}


def test_the_hour_that_comes_twice_is_two_buckets(service: httpx.Client) -> None:
    query = "interval=hour&start_date=2025-10-26T01:00&end_date=2025-10-26T03:59&tz=Europe/Berlin"
    document = over_time(service, query)
    assert document["buckets"] == [
        "2025-10-26T01:00:00+02:00",
        "2025-10-26T02:00:00+02:00",
        "2025-10-26T02:00:00+01:00",
        "2025-10-26T03:00:00+01:00",
    ]
    assert document["series"] == {
        "view": [0, 1, 0, 0],
        "click": [0, 0, 1, 0],
        "location": [0, 0, 0, 0],
    }


def test_weeks_begin_on_monday_and_are_cut_at_the_ends(service: httpx.Client) -> None:
    query = "interval=week&start_date=2025-05-28T00:00:00.000001Z&end_date=2025-06-02"
    document = over_time(service, query)
    assert document["buckets"] == ["2025-05-26T00:00:00Z", "2025-06-02T00:00:00Z"]
    assert document["series"] == {"view": [2, 0], "click": [3, 0], "location": [1, 0]}


@pytest.mark.parametrize("interval", ["minute", "quarter_hour", "hour", "day", "week", "month"])
def test_each_interval_holds_the_same_events(service: httpx.Client, interval: str) -> None:
    query = f"interval={interval}&start_date=2025-05-27T22:00&end_date=2025-05-29T02:00"
    document = over_time(service, query)
    assert [sum(document["series"][name]) for name in TYPES] == [4, 3, 1]


def test_open_ends_hold_all_events(service: httpx.Client) -> None:
    document = over_time(service, "interval=month")
    assert document["buckets"][0] == "2011-12-01T00:00:00Z"
    assert [sum(document["series"][name]) for name in TYPES] == [7, 5, 1]


def test_nothing_is_no_buckets(service: httpx.Client) -> None:
    nothing = {"interval": "day", "tz": "UTC", "buckets": [], "series": {t: [] for t in TYPES}}
    assert over_time(service, "interval=day&site=7") == nothing
    assert over_time(service, "interval=day&start_date=2999-01-01") == nothing
    skipped = "interval=day&start_date=2011-12-30&end_date=2011-12-30&tz=Pacific/Apia"
    assert over_time(service, skipped)["buckets"] == []


def test_the_ends_of_the_calendar(service: httpx.Client) -> None:
    first = over_time(service, "interval=month&start_date=0001-01-01&end_date=0001-01-02")
    assert first["buckets"] == ["0001-01-01T00:00:00Z"]
    query = "interval=day&start_date=0001-01-01&end_date=0001-01-01"
    for zone in ("Asia/Tokyo", "America/New_York"):
        assert over_time(service, f"{query}&tz={zone}")["series"]["view"] == [0]
    last = over_time(service, "interval=day&start_date=9999-12-30&end_date=9999-12-31")
    assert last["buckets"] == ["9999-12-30T00:00:00Z", "9999-12-31T00:00:00Z"]


def test_a_bucket_before_the_year_1_begins_with_it() -> None:
    seconds = -62_135_596_800 - 1
    assert bucket_label(seconds, UTC) == "0001-01-01T00:00:00Z"
    assert bucket_label(seconds + 1, ZoneInfo("America/New_York")) == "0001-01-01T00:00:00Z"


def test_an_offset_with_seconds_is_told_in_utc() -> None:
    zone = ZoneInfo("Europe/Vilnius")
    start = datetime(1870, 1, 1, tzinfo=zone)
    assert bucket_label(round(start.timestamp()), zone) == "1869-12-31T22:18:44Z"


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("", {"interval"}),
        ("interval=", {"interval"}),
        ("interval=year", {"interval"}),
        ("interval=day&interval=day", {"interval"}),
        ("interval=minute&start_date=2025-01-01&end_date=2025-05-29", {"interval"}),
        ("interval=minute", {"interval"}),
        ("interval=day&start_date=0001-01-01&end_date=9999-12-31", {"interval"}),
        ("interval=day&start_date=2025-05-29&end_date=2025-05-28", {"start_date"}),
        ("interval=day&tz=Mars/Olympus", {"tz"}),
        ("interval=day&event_type=purchase", {"event_type"}),
        ("interval=day&step=2", {"step"}),
    ],
)
def test_a_wrong_query_is_refused(service: httpx.Client, query: str, named: set[str]) -> None:
    answer = service.get(f"{PATH}?{query}")
    assert_problem(answer, 400)
    assert fields(answer) == named


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(first=edges, second=edges)
def test_sums_equal_the_counts_of_the_same_range(
    service: httpx.Client, first: Any, second: Any
) -> None:
    start, end = sorted([first, second])
    query = f"start_date={quote(start.isoformat())}&end_date={quote(end.isoformat())}"
    series = over_time(service, f"interval=day&tz=Asia/Kathmandu&{query}")["series"]
    counts = service.get(f"/analytics/event-counts-by-type?{query}").json()
    assert {name: sum(numbers) for name, numbers in series.items() if sum(numbers)} == counts
