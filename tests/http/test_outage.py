"""The database is away, and the spool is there: events are kept, and stored once it is back."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from service.database.embedded import EmbeddedDatabase
from service.server import bind
from tests.http.support import assert_problem, event
from tests.support.databases import Database, blocked_table
from tests.support.metrics import scrape
from tests.support.services import ServiceProcess, running_service, wait_until_replayed

# What the pool and psycopg say of their attempts is no failure of these tests.
pytestmark = pytest.mark.filterwarnings("default")


@contextmanager
def spooling_service(database_url: str, **settings: Any) -> Iterator[httpx.Client]:
    """A service that soon finds that the database is away."""
    settings = {"ingest_deadline_seconds": 0.6, "read_deadline_seconds": 0.5} | settings
    with (
        running_service(database_url=database_url, **settings) as base_url,
        httpx.Client(base_url=base_url, timeout=20) as client,
    ):
        client.get("/health/ready").raise_for_status()
        yield client


def urls_in(database: Database) -> list[str]:
    """Return the URLs of all events, sorted."""
    rows = database.execute("select payload ->> 'url' from events order by 1").fetchall()
    return [url for (url,) in rows]


def numbered(*numbers: int) -> list[dict[str, Any]]:
    """Return events, each with a URL of its own."""
    return [event() | {"payload": {"url": f"/{number}"}} for number in numbers]


@pytest.mark.usefixtures("no_events")
def test_events_are_kept_and_counted_once_the_database_is_back(
    shared_database_url: str, database: Database, native: bool
) -> None:
    with spooling_service(shared_database_url) as client:
        with blocked_table(shared_database_url, native=native):
            answers = [client.post("/events", json=one) for one in numbered(*range(5))]
            answers.append(client.post("/events/batch", json=numbered(*range(5, 9))))
            ready = client.get("/health/ready")
        assert [answer.status_code for answer in answers] == [202] * 6
        assert answers[-1].json() == {"accepted": 4, "duplicates": 0, "rejected": []}
        assert ready.status_code == 200
        assert ready.json()["status"] == "degraded"
        assert "local disk" in ready.json()["reason"]
        assert ready.json()["spool_bytes"] > 0
        wait_until_replayed(str(client.base_url))
        assert urls_in(database) == [f"/{number}" for number in range(9)]
        ids = {answer.json()["event_id"]: answer.json()["timestamp"] for answer in answers[:5]}
        rows = database.execute("select event_id::text from events").fetchall()
        assert ids.keys() <= {event_id for (event_id,) in rows}
        assert client.get("/analytics/event-counts").json() == {"total_events": 9}


@pytest.mark.usefixtures("no_events")
def test_an_event_that_is_sent_again_during_an_outage_is_stored_once(
    shared_database_url: str, database: Database, native: bool
) -> None:
    with spooling_service(shared_database_url) as client:
        first = client.post("/events", json=event())
        given = event() | {"event_id": first.json()["event_id"]}
        with blocked_table(shared_database_url, native=native):
            for _ in range(3):
                assert client.post("/events", json=given).status_code == 202
            assert client.post("/events/batch", json=[given, given]).status_code == 202
        wait_until_replayed(str(client.base_url))
        assert client.post("/events", json=given).status_code == 202
    assert len(urls_in(database)) == 1


@pytest.mark.usefixtures("no_events")
def test_a_full_spool_is_503_with_the_id_and_recovers_alone(
    shared_database_url: str, database: Database, native: bool
) -> None:
    with spooling_service(shared_database_url, spool_bytes=300) as client:
        with blocked_table(shared_database_url, native=native):
            documents = numbered(*range(8))
            answers = [client.post("/events", json=one) for one in documents]
            not_ready = client.get("/health/ready")
        problems = [assert_problem(one, 503) for one in answers if one.status_code != 202]
        assert 0 < len(problems) < 8
        assert all(one.headers["retry-after"] for one in answers if one.status_code == 503)
        assert "the spool can take no more" in assert_problem(not_ready, 503)["detail"]
        wait_until_replayed(str(client.base_url))
        for document, answer in zip(documents, answers, strict=True):
            if answer.status_code == 503 and (given := answer.json().get("event_id")):
                document["event_id"] = given
            if answer.status_code == 503:
                assert client.post("/events", json=document).status_code == 202
        wait_until_replayed(str(client.base_url))
    assert urls_in(database) == [f"/{number}" for number in range(8)]


def test_a_service_starts_without_its_database_and_migrates_it_later(tmp_path: Path) -> None:
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    database = EmbeddedDatabase(tmp_path / "data", port=port, durable=False)
    process = ServiceProcess(database.url, tmp_path / "service.log", LOG_FORMAT="json")
    process.start()
    try:
        for number in range(20):
            answer = httpx.post(f"{process.base_url}/events", json=numbered(number)[0], timeout=20)
            assert answer.status_code == 202
        assert httpx.get(f"{process.base_url}/health/ready").json()["status"] == "degraded"
        metrics = scrape(process.base_url)
        assert metrics.value("tallymark_spooled_events_total") == 20
        assert metrics.value("tallymark_database_away") == 1
        assert metrics.value("tallymark_spool_bytes") > 20 * 50
        counted = httpx.get(f"{process.base_url}/analytics/event-counts", timeout=20)
        assert_problem(counted, 503)
        process.kill()
        process.start()
        with database:
            wait_until_replayed(process.base_url)
            with psycopg.connect(database.url, autocommit=True) as connection:
                assert urls_in(connection) == sorted(f"/{number}" for number in range(20))
            metrics = scrape(process.base_url)
            assert metrics.value("tallymark_replayed_events_total") == 20
            assert metrics.value("tallymark_database_errors_total", failure="away") > 0
            assert process.terminate() == 0
    finally:
        process.kill()
    lines = (tmp_path / "service.log").read_text().splitlines()
    assert sum("events are kept on the disk" in line for line in lines) == 2
    serving = [json.loads(line) for line in lines if '"serving"' in line]
    assert [entry["database_away"] for entry in serving] == [True, True]
    replayed = [json.loads(line) for line in lines if '"replayed"' in line]
    assert sum(line["events"] for line in replayed) == 20
    assert not any("Traceback" in line for line in lines)
    assert list((tmp_path / "spool").iterdir()) == []
