"""The check of a run passes on a service that keeps its promise, and fails on any that does not."""

import signal
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.server import bind
from service.settings import Settings
from tests.loadtest.support import Broken, Forgetful, Lenient, Locust, load, wait_until
from tests.support.services import serving

COUNTS = "/analytics/event-counts-by-type"
INGEST = ("--tags", "single")


def counts(host: str) -> dict[str, int]:
    """Return what the service counts."""
    found: dict[str, int] = httpx.get(f"{host}{COUNTS}").raise_for_status().json()
    return found


def test_two_workers_and_their_master_agree_with_the_counts(host: str, tmp_path: Path) -> None:
    done = load(host, tmp_path, "--processes", "2", "--run-time", "5s")
    assert done.exit_code == 0, done.said
    assert done.unknown == 0
    assert done.accepted == done.moved == counts(host)
    assert done.accepted.total() > 0


def test_a_worker_that_is_killed_fails_the_run(host: str, tmp_path: Path) -> None:
    port = ("--master-port", str(free_port()))
    options = ("--expect-workers", "2", "--master-bind-port", port[1])
    master = Locust(host, tmp_path, "--master", *options, "--run-time", "5s")
    workers = [Locust(host, tmp_path, "--worker", *port) for _ in range(2)]
    wait_until(lambda: bool(counts(host)))
    workers[0].process.kill()
    done = master.finish()
    for worker in workers:
        worker.finish()
    assert done.exit_code == 1
    assert "FAILED: a worker ended without a last report" in done.said


def test_an_event_that_is_acknowledged_and_lost_fails_the_run(
    database_url: str, tmp_path: Path
) -> None:
    app = create_app(Settings(database_url=database_url))
    with serving(Broken(app, "/events", 202, every=100)) as host:
        done = load(host, tmp_path, *INGEST)
        assert done.exit_code == 1
        lost = sum((done.accepted - done.moved).values())
        assert lost > 0
        assert done.moved == counts(host)
    assert "LOST" in done.said


def test_a_batch_that_is_acknowledged_and_lost_fails_the_run(
    database_url: str, tmp_path: Path
) -> None:
    app = create_app(Settings(database_url=database_url))
    with serving(Broken(app, "/events/batch", 202, every=20)) as host:
        done = load(host, tmp_path, "--tags", "batches")
        assert done.exit_code == 1
        assert sum((done.accepted - done.moved).values()) > 0
        assert done.moved == counts(host)
    assert "LOST" in done.said
    assert "FAILED: POST /events/batch: " in done.said


def test_an_event_that_is_stored_again_fails_the_run(database_url: str, tmp_path: Path) -> None:
    app = create_app(Settings(database_url=database_url))
    with serving(Forgetful(app)) as host:
        options = ("--tags", "resends", "--batch-events", "7", "--think-seconds", "0")
        done = load(host, tmp_path, *options)
    assert done.exit_code == 1
    assert "TOO MANY" in done.said


def test_an_event_that_nobody_sent_fails_the_run(host: str, tmp_path: Path) -> None:
    locust = Locust(host, tmp_path, *INGEST)
    wait_until(lambda: bool(counts(host)))
    event = {"user_id": "x", "event_type": "view", "payload": {"url": "/"}}
    assert httpx.post(f"{host}/events", json=event).status_code == 202
    done = locust.finish()
    assert done.exit_code == 1
    assert "FAILED: conservation: view" in done.said
    assert "1 TOO MANY" in done.said
    assert done.moved - done.accepted == {"view": 1}


@pytest.mark.parametrize(("most", "exit_code"), [("0.05", 1), ("0.2", 0)])
def test_errors_fail_the_run_when_there_are_more_than_may_be(
    database_url: str, tmp_path: Path, most: str, exit_code: int
) -> None:
    app = create_app(Settings(database_url=database_url))
    # A 503 without an event_id says that the event is not stored: its outcome is known.
    with serving(Broken(app, "/events", 503, every=10)) as host:
        done = load(host, tmp_path, *INGEST, "--max-error-ratio", most)
        assert done.accepted == done.moved == counts(host)
    assert done.unknown == 0
    assert done.exit_code == exit_code, done.said
    assert ("FAILED: POST /events: " in done.said) == bool(exit_code)
    assert "answered 503 instead of 202" in done.said


def test_an_error_that_says_nothing_of_the_event_leaves_it_unknown(
    database_url: str, tmp_path: Path
) -> None:
    app = create_app(Settings(database_url=database_url))
    with serving(Broken(app, "/events", 500, every=10)) as host:
        done = load(host, tmp_path, *INGEST, "--max-error-ratio", "0.2")
    assert done.exit_code == 0, done.said
    assert done.unknown > 0
    assert "with an unknown outcome" in done.said


def test_a_service_that_accepts_nothing_fails_the_run(database_url: str, tmp_path: Path) -> None:
    app = create_app(Settings(database_url=database_url))
    with serving(Broken(app, "/events", 503, every=1)) as host:
        done = load(host, tmp_path, *INGEST, "--max-error-ratio", "1")
    assert done.exit_code == 1
    assert "the run was to send events, and none was accepted" in done.said


def test_malformed_requests_that_are_not_refused_fail_the_run(
    database_url: str, tmp_path: Path
) -> None:
    app = create_app(Settings(database_url=database_url))
    with serving(Lenient(app, 202)) as host:
        done = load(host, tmp_path, "--tags", "malformed", "--users", "4")
    assert done.exit_code == 1
    assert "is wrong, and the answer was 202 instead of 400" in done.said
    assert all(at["failures"] == at["requests"] for at in done.outcome["endpoints"])


def test_counts_that_are_none_fail_the_run(database_url: str, tmp_path: Path) -> None:
    app = create_app(Settings(database_url=database_url))
    with serving(Broken(app, "/analytics/event-counts", 200, every=2)) as host:
        done = load(host, tmp_path, "--tags", "counts")
    assert done.exit_code == 1
    assert "FAILED: GET /analytics/event-counts: " in done.said
    assert "answered {}" in done.said


def test_slow_answers_fail_the_run(host: str, tmp_path: Path) -> None:
    limits = "GET /analytics/event-counts=0.001"
    done = load(host, tmp_path, "--tags", "counts", "--max-p95-ms", limits)
    assert done.exit_code == 1
    assert "FAILED: GET /analytics/event-counts: p95 was" in done.said
    assert len(done.outcome["problems"]) == 1


@pytest.mark.parametrize("name", ["POST", "POST /events"])
def test_a_limit_of_what_the_run_does_not_request_is_refused(
    host: str, tmp_path: Path, name: str
) -> None:
    done = load(host, tmp_path, "--tags", "counts", "--max-p95-ms", f"{name}=5")
    assert done.exit_code == 2
    assert f"--max-p95-ms: {name} is not requested here, but GET /analytics" in done.said
    assert not done.outcome


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_a_signal_cuts_short_says_so(
    host: str, tmp_path: Path, number: int, exit_code: int
) -> None:
    locust = Locust(host, tmp_path, *INGEST, "--run-time", "60s")
    wait_until(lambda: bool(counts(host)))
    locust.process.send_signal(number)
    done = locust.finish()
    assert done.exit_code == exit_code, done.said
    assert "cut short after" in done.said
    assert done.outcome["cut_short"]
    assert done.outcome["planned_seconds"] == 60
    assert done.accepted == done.moved == counts(host)


def test_the_endpoints_that_users_request_are_those_they_say(host: str, tmp_path: Path) -> None:
    names = [
        *("POST /events", "POST /events (malformed)", "POST /events/batch"),
        *("GET /analytics/event-counts", "GET /analytics/event-counts-by-type"),
        *("GET /analytics/event-counts (malformed)",),
        *("GET /analytics/event-counts-by-type (malformed)",),
    ]
    limits = ",".join(f"{name}=60000" for name in names)
    done = load(host, tmp_path, "--max-p95-ms", limits, "--run-time", "8s")
    assert done.exit_code == 0, done.said
    assert {at["name"] for at in done.outcome["endpoints"]} == set(names)
    assert all(at["percentiles"]["99"] <= at["max_ms"] for at in done.outcome["endpoints"])
    assert not done.outcome["cut_short"]


def test_nobody_there_is_said_in_a_plain_line(tmp_path: Path) -> None:
    done = load(f"http://127.0.0.1:{free_port()}", tmp_path)
    assert done.exit_code == 1
    assert "tallymark: no counts from http://127.0.0.1" in done.said
    assert "Traceback" not in done.said


def test_a_limit_that_is_none_is_said_in_a_plain_line(host: str, tmp_path: Path) -> None:
    done = load(host, tmp_path, "--max-p95-ms", "fast")
    assert done.exit_code == 2
    assert "argument --max-p95-ms: invalid limits value: 'fast'" in done.said
    assert "Traceback" not in done.said


def free_port() -> int:
    """Return a port on which nobody listens."""
    with bind("127.0.0.1", 0) as listener:
        port: int = listener.getsockname()[1]
    return port
