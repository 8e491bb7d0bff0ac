"""DATABASE_READ_URL: counts are asked of another database than that which takes the events."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.database.embedded import EmbeddedDatabase
from service.database.migrations import migrate
from service.health import AGGREGATES
from tests.counting.breakdowns import BREAKDOWN_LEVELS
from tests.counting.counts import LEVELS
from tests.embedded.conftest import eventually
from tests.http.support import assert_problem, event
from tests.support.databases import new_database
from tests.support.metrics import scrape
from tests.support.proxy import Proxy
from tests.support.services import ServiceProcess, running_service


@pytest.fixture
def other_url(server_url: str, native: bool, tmp_path: Path) -> Iterator[str]:
    """A second database, on a server of its own where each has but one."""
    if native:
        with new_database(server_url) as url:
            migrate(url)
            yield url
    else:
        with EmbeddedDatabase(tmp_path / "other", durable=False) as server:
            migrate(server.url)
            yield server.url


def test_events_go_to_one_and_counts_come_from_the_other(database_url: str, other_url: str) -> None:
    with running_service(database_url=database_url, database_read_url=other_url) as url:
        assert httpx.post(f"{url}/events", json=event()).status_code == 202
        assert httpx.get(f"{url}/analytics/event-counts").json() == {"total_events": 0}
    with running_service(database_url=other_url, database_read_url=database_url) as url:
        assert httpx.get(f"{url}/analytics/event-counts").json() == {"total_events": 1}
        assert httpx.get(f"{url}/analytics/event-counts-by-type").json() == {"view": 1}


def reads_away(process: ServiceProcess) -> float:
    """Return what the gauge says."""
    return scrape(process.base_url).value("tallymark_reads_away")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_read_database_that_is_away_is_seen(
    database_url: str, tmp_path: Path, workers: int
) -> None:
    log = tmp_path / "log"
    with Proxy(database_url) as proxy:
        proxy.refuse()
        process = ServiceProcess(
            database_url,
            log,
            DATABASE_READ_URL=proxy.url,
            WORKERS=str(workers),
            LOG_FORMAT="json",
        )
        with process.running():
            eventually(lambda: log.read_text().count("reads are away") == workers, 30)
            eventually(lambda: reads_away(process) == 1, 10)
            behind = scrape(process.base_url).samples("tallymark_aggregate_behind_seconds")
            assert {one.labels["aggregate"] for one in behind} == {*LEVELS, *BREAKDOWN_LEVELS}
            assert all(math.isnan(one.value) for one in behind)
            ready = httpx.get(f"{process.base_url}/health/ready")
            assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
            assert "read from" in ready.json()["reason"]
            assert httpx.post(f"{process.base_url}/events", json=event()).status_code == 202
            counts = httpx.get(f"{process.base_url}/analytics/event-counts", timeout=20)
            assert_problem(counts, 503)
            proxy.pass_on()
            eventually(lambda: log.read_text().count("reads are back") == workers, 30)
            eventually(lambda: reads_away(process) == 0, 10)
            assert httpx.get(f"{process.base_url}/health/ready").json()["status"] == "ready"
            assert process.terminate(30) == 0
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    told = [entry["event"] for entry in entries if entry.get("level") in ("warning", "error")]
    # The request that was answered 503 is one, too; the server that is tested on may be in a hurry.
    assert set(told) - {"fsync is off"} == {"reads are away", "request"}
    assert told.count("reads are away") == workers


def test_the_aggregates_are_known_without_the_database() -> None:
    assert set(AGGREGATES) == {*LEVELS, *BREAKDOWN_LEVELS}
