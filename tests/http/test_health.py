"""GET /health/live, /health/ready, and what they say while the database is away."""

import socket

import httpx
import pytest

from tests.counting.breakdowns import BREAKDOWN_LEVELS
from tests.counting.counts import LEVELS, connect, fill, refresh, stop_jobs
from tests.embedded.conftest import eventually
from tests.http.support import assert_problem, event
from tests.support.services import running_service


def unused_url() -> str:
    """Return the URL of a database server that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"postgresql://postgres@127.0.0.1:{port}/tallymark"


def test_a_running_service_is_live(service: httpx.Client) -> None:
    answer = service.get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "live"})


def test_a_service_with_a_database_is_ready(service: httpx.Client) -> None:
    answer = service.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ready"


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_probes_may_use_head(service: httpx.Client, path: str) -> None:
    answer = service.head(path)
    assert answer.status_code == 200
    assert answer.content == b""


# What the pool says of its attempts is no failure of the test.
@pytest.mark.filterwarnings("default")
def test_without_a_database_and_a_spool_a_service_is_live_and_not_ready() -> None:
    with running_service(database_url=unused_url(), spool_bytes=0) as base_url:
        assert httpx.get(f"{base_url}/health/live").status_code == 200
        answer = httpx.get(f"{base_url}/health/ready", timeout=20)
        problem = assert_problem(answer, 503)
        assert problem["type"] == "urn:tallymark:problem:not-ready"
        assert "there is no spool" in problem["detail"]
        assert int(answer.headers["retry-after"]) > 0
        assert "127.0.0.1" not in answer.text


def behind(client: httpx.Client) -> dict[str, float | None] | None:
    """Return what the service says of its aggregates."""
    answer = client.get("/health/ready")
    assert answer.status_code == 200
    found: dict[str, float | None] | None = answer.json()["behind_seconds"]
    return found


def test_ready_says_how_far_behind_each_aggregate_is(database_url: str) -> None:
    with connect(database_url) as connection:
        stop_jobs(connection)
        fill(connection, "2025-05-01", "2025-05-02", "1 hour")
        refresh(connection, LEVELS[0])

        def agrees() -> bool:
            rows = connection.execute(
                "select aggregate, extract(epoch from behind)::float8 from ops.freshness"
            ).fetchall()
            found = behind(client) or {}
            return all(
                found.get(name, "missing") == (then and pytest.approx(then, abs=3))
                for name, then in rows
            )

        with (
            running_service(database_url=database_url) as url,
            httpx.Client(base_url=url) as client,
        ):
            eventually(agrees, 20)
            assert set(behind(client) or {}) == {*LEVELS, *BREAKDOWN_LEVELS}


# As a refresh leaves it that found nothing to refresh, and ended at PostgreSQL's first timestamp.
BEFORE_ALL_TIME = """
update _timescaledb_catalog.continuous_aggs_materialization_invalidation_log
set lowest_modified_value = -210866803200000000
where greatest_modified_value = 9223372036854775807
"""
BEHIND = "select behind, complete_until - now() from ops.freshness"


def test_nothing_is_behind_by_thousands_of_years(quiet_url: str) -> None:
    with connect(quiet_url) as connection:
        assert connection.execute(BEFORE_ALL_TIME).rowcount == len({*LEVELS, *BREAKDOWN_LEVELS})
        assert set(connection.execute(BEHIND).fetchall()) == {(None, None)}
        with (
            running_service(database_url=quiet_url) as url,
            httpx.Client(base_url=url) as client,
        ):
            eventually(lambda: behind(client) is not None, 20)
            assert behind(client) == dict.fromkeys((*LEVELS, *BREAKDOWN_LEVELS))


def test_a_service_that_can_not_say_it_is_ready(database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute("alter view stale_ranges rename to other_ranges")
        try:
            with (
                running_service(database_url=database_url) as url,
                httpx.Client(base_url=url) as client,
            ):
                assert client.post("/events", json=event()).status_code == 202
                assert behind(client) is None
        finally:
            connection.execute("alter view other_ranges rename to stale_ranges")
