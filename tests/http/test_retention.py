"""Counts of days whose events have gone, and events that are too old, over HTTP."""

import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest
from pydantic import ValidationError

from service.events import LATE_WINDOW_MILLISECONDS, new_event_id
from service.settings import Settings
from tests.counting.counts import INSERT, connect
from tests.http.support import assert_problem, event, fields

DAY = timedelta(days=1)
KEPT_DAYS = 9
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
BORDER = TODAY - KEPT_DAYS * DAY
GONE = BORDER - 2 * DAY
"""A day whose events have gone: one at 10:20:30, one at noon."""
MOMENTS = [GONE + timedelta(hours=10, minutes=20, seconds=30), GONE + DAY / 2, TODAY - DAY]


def text(moment: datetime) -> str:
    """Return an instant as queries have it."""
    return moment.isoformat().replace("+00:00", "Z")


@pytest.fixture
def old_events(client: httpx.Client, database_url: str) -> httpx.Client:
    """A client of a service whose older events have gone."""
    with connect(database_url) as connection:
        connection.execute(INSERT, [MOMENTS, [1] * 3, ["view"] * 3])
        connection.execute("call apply_retention(%s)", [KEPT_DAYS * DAY])
        assert connection.execute("select count(*) from events").fetchone() == (1,)
    return client


def total(client: httpx.Client, **parameters: str) -> int:
    """Return the number of events that the service counts."""
    answer = client.get("/analytics/event-counts", params=parameters)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["total_events"])


def test_days_and_minutes_of_what_has_gone_are_counted(old_events: httpx.Client) -> None:
    assert total(old_events) == 3
    assert total(old_events, start_date=f"{GONE:%Y-%m-%d}", end_date=f"{GONE:%Y-%m-%d}") == 2
    assert total(old_events, start_date="1970-01-01", end_date=f"{GONE:%Y-%m-%d}") == 2
    assert total(old_events, start_date=text(GONE + timedelta(hours=10, minutes=21))) == 2
    noon = text(GONE + DAY / 2 - timedelta(microseconds=1))
    assert total(old_events, end_date=noon) == 1
    by_type = old_events.get("/analytics/event-counts-by-type", params={"end_date": noon})
    assert by_type.json() == {"view": 1}


def test_edges_after_the_border_may_be_any(old_events: httpx.Client) -> None:
    assert total(old_events, start_date=text(TODAY - DAY + timedelta(microseconds=1))) == 0
    assert total(old_events, end_date=text(TODAY - DAY)) == 3


@pytest.mark.parametrize("path", ["/analytics/event-counts", "/analytics/event-counts-by-type"])
def test_an_edge_within_a_minute_names_its_parameter_and_what_can_be_asked(
    old_events: httpx.Client, path: str
) -> None:
    head = f"Events before {text(BORDER)} are not kept: "
    start = {"start_date": text(GONE + timedelta(seconds=90))}
    start_error = {
        "field": "start_date",
        "message": f"{head}use the start of a whole minute, like "
        + text(GONE + timedelta(minutes=1)),
    }
    end = {"end_date": text(GONE + timedelta(minutes=10))}
    end_error = {
        "field": "end_date",
        "message": f"{head}use a date, or the end of a whole minute, like "
        + text(GONE + timedelta(minutes=11, microseconds=-1)),
    }
    for parameters, expected in (
        (start, [start_error]),
        (end, [end_error]),
        (start | end, [start_error, end_error]),
        (start | {"end_date": text(TODAY - DAY)}, [start_error]),
    ):
        problem = assert_problem(old_events.get(path, params=parameters), 400)
        assert problem["type"] == "urn:tallymark:problem:invalid-query"
        assert problem["errors"] == expected
    # What it advises is answered.
    for error in (start_error, end_error):
        total(old_events, **{error["field"]: error["message"].rpartition(" ")[2]})


def test_what_the_service_takes_is_never_older_than_what_is_kept(old_events: httpx.Client) -> None:
    window_days = LATE_WINDOW_MILLISECONDS // 86_400_000
    with pytest.raises(ValidationError):
        Settings(database_url="postgresql://127.0.0.1/none", retention_days=window_days + 1)
    oldest = time.time_ns() // 1_000_000 - LATE_WINDOW_MILLISECONDS
    before = total(old_events)
    for milliseconds, status in ((oldest + 30_000, 202), (oldest - 30_000, 400)):
        event_id = str(UUID(bytes=new_event_id(milliseconds)))
        answer = old_events.post("/events", json=event() | {"event_id": event_id})
        assert answer.status_code == status, answer.text
    assert fields(answer) == {"event_id"}
    assert total(old_events) == before + 1
