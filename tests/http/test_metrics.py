"""GET /metrics: exact numbers, bounded labels, and what docs/operating.md says of them."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from psycopg_pool import PoolTimeout
from structlog.testing import capture_logs

from service.database.failures import Failure
from service.metrics import REGISTRY, count_database_error, observe_all
from tests.counting.breakdowns import BREAKDOWN_LEVELS
from tests.counting.counts import LEVELS
from tests.embedded.conftest import eventually
from tests.http.support import event
from tests.support.metrics import Scrape, scrape
from tests.support.services import ServiceProcess

BOUNDS = (0.001, 0.01, 0.5, 10.0)
TABLE = re.compile(r"^\| `(tallymark_\w+)` \| (\w+) \|([^|]*)\| [^|]+ \|$", re.MULTILINE)
TEXT = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
DOCUMENTED = {
    name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in TABLE.findall(TEXT)
}


@pytest.fixture(params=["1", "2"])
def process(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path
) -> Iterator[ServiceProcess]:
    """A service of its own, which has counted nothing but whether it is live."""
    process = ServiceProcess(database_url, tmp_path / "log", WORKERS=request.param)
    process.start()
    try:
        yield process
    finally:
        process.terminate()


def send_some(base_url: str) -> dict[tuple[str, str, str], float]:
    """Send requests, each over a connection of its own, and return how many of each."""
    sent = [
        *[("POST", "/events", event(), 202)] * 30,
        *[("POST", "/events", {}, 400)] * 7,
        *[("POST", "/events/batch", [event(), event(), {}], 202)] * 3,
        *[("GET", "/events", None, 200)] * 2,
        *[("GET", "/analytics/event-counts", None, 200)] * 5,
        *[("GET", "/analytics/event-counts?x=1", None, 400)] * 4,
        *[("GET", f"/nowhere/{number}", None, 404) for number in range(6)],
        *[("DELETE", "/events/batch", None, 405)] * 2,
    ]
    counts: dict[tuple[str, str, str], float] = {}
    for method, path, body, status in sent:
        answer = httpx.request(method, f"{base_url}{path}", json=body, timeout=20)
        assert answer.status_code == status, answer.text
        route = "none" if status == 404 else path.partition("?")[0]
        key = route, method, str(status)
        counts[key] = counts.get(key, 0) + 1
    return counts


def test_what_is_counted_is_what_was_sent(process: ServiceProcess) -> None:
    sent = send_some(process.base_url)

    def counted() -> dict[tuple[str, str, str], float]:
        found = scrape(process.base_url).requests()
        return {key: count for key, count in found.items() if key[0] in {key[0] for key in sent}}

    # A request is counted after its answer.
    eventually(lambda: counted() == sent, 5)
    times = scrape(process.base_url)
    for route, method in {key[:2] for key in sent}:
        expected = sum(count for key, count in sent.items() if key[:2] == (route, method))
        labels = {"route": route, "method": method}
        assert times.value("tallymark_request_seconds_count", **labels) == expected
        assert times.value("tallymark_request_seconds_bucket", le="+Inf", **labels) == expected
        assert times.value("tallymark_request_seconds_sum", **labels) > 0


def test_what_became_of_events_is_counted(process: ServiceProcess) -> None:
    first = httpx.post(f"{process.base_url}/events", json=event(), timeout=20).json()
    given = event() | {"event_id": first["event_id"]}
    documents = [*(event(n=number) for number in range(40)), {}, given, given]
    answer = httpx.post(f"{process.base_url}/events/batch", json=documents, timeout=20)
    assert answer.json()["accepted"] == 40
    found = scrape(process.base_url)
    assert found.value("tallymark_events_stored_total") == 41
    assert found.value("tallymark_events_duplicate_total") == 1
    assert found.value("tallymark_flush_seconds_count") == 2
    assert found.value("tallymark_flush_events_sum") == 42
    for nothing in ("events_not_stored_total", "events_rejected_total", "spooled_events_total"):
        assert found.value(f"tallymark_{nothing}") == 0
    assert found.value("tallymark_database_away") == 0


def test_each_metric_is_documented_with_its_labels(process: ServiceProcess) -> None:
    send_some(process.base_url)
    answered = scrape(process.base_url)
    for family in answered.families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        kind, labels = DOCUMENTED[name]
        assert family.type == kind
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == labels
    assert "tallymark_queue_events" in {family.name for family in answered.families}


def test_each_documented_metric_exists() -> None:
    exist = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in REGISTRY.collect()
    }
    assert exist == set(DOCUMENTED)


def test_each_aggregate_says_how_far_behind_it_is(process: ServiceProcess) -> None:
    levels = {*LEVELS, *BREAKDOWN_LEVELS}

    def behind() -> dict[str, float]:
        samples = scrape(process.base_url).samples("tallymark_aggregate_behind_seconds")
        return {sample.labels["aggregate"]: sample.value for sample in samples}

    eventually(lambda: behind().keys() == levels, 10)
    assert all(math.isnan(seconds) or seconds > 0 for seconds in behind().values())


def test_connections_are_those_of_all_workers(process: ServiceProcess) -> None:
    workers = int(process.environment["WORKERS"])

    def connections(answered: Scrape) -> float:
        return answered.value("tallymark_pool_connections")

    eventually(lambda: connections(scrape(process.base_url)) >= workers, 10)
    answered = scrape(process.base_url)
    assert connections(answered) <= 4 * workers
    assert {one.labels["state"] for one in answered.samples("tallymark_pool_connections")} == {
        "idle",
        "used",
    }


@given(values=st.lists(st.floats(min_value=0, max_value=100) | st.sampled_from(BOUNDS)))
def test_values_observed_at_once_count_as_one_by_one(values: list[float]) -> None:
    registry = CollectorRegistry()
    at_once, by_one = (
        Histogram(name, "Seconds", buckets=BOUNDS, registry=registry) for name in ("a", "b")
    )
    observe_all(at_once, values)
    for value in values:
        by_one.observe(value)
    first, second = (
        {sample.name[1:] + sample.labels.get("le", ""): sample.value for sample in family.samples}
        for family in registry.collect()
    )
    assert first == pytest.approx(second)


# In this process, where other services have counted, too


def test_paths_with_ids_are_one_route(service: httpx.Client) -> None:
    before = scrape(service.base_url).requests()
    for number in range(3):
        service.get(f"/events/019ab697-e87b-7d57-872c-f4cea731800{number}")
        service.get(f"/docs/assets/{number}.js")
    key = "/events/{event_id}", "GET", "404"
    assets = "/docs/assets/{name:path}", "GET", "404"
    eventually(
        lambda: (
            [scrape(service.base_url).requests()[one] - before.get(one, 0) for one in (key, assets)]
            == [3, 3]
        ),
        5,
    )


def test_a_strange_method_is_one_of_others(service: httpx.Client) -> None:
    for method in ("LOCK", "SEARCH", "PURGE"):
        service.request(method, "/events")
    methods = {key[1] for key in scrape(service.base_url).requests()}
    assert "other" in methods
    assert not {"LOCK", "SEARCH", "PURGE"} & methods


def test_a_scrape_is_logged_for_debugging_only(service: httpx.Client) -> None:
    with capture_logs() as entries:
        service.get("/metrics")
        eventually(lambda: any(entry["event"] == "request" for entry in entries), 5)
    (entry,) = [entry for entry in entries if entry["event"] == "request"]
    assert (entry["path"], entry["log_level"]) == ("/metrics", "debug")


@pytest.mark.parametrize(
    ("error", "failure", "kind"),
    [
        (psycopg.errors.UniqueViolation("x"), Failure.REFUSED, "23505"),
        (psycopg.errors.AdminShutdown("x"), Failure.AWAY, "57P01"),
        (psycopg.errors.DeadlockDetected("x"), Failure.RETRY, "40P01"),
        (psycopg.OperationalError("x"), Failure.AWAY, "OperationalError"),
        (TimeoutError(), Failure.AWAY, "TimeoutError"),
        (PoolTimeout("x"), Failure.AWAY, "PoolTimeout"),
        (ValueError("x"), Failure.DEFECT, "ValueError"),
    ],
)
def test_an_error_of_the_database_is_counted_by_its_cause(
    error: Exception, failure: Failure, kind: str
) -> None:
    def count() -> float:
        labels = {"failure": failure.value, "kind": kind}
        return REGISTRY.get_sample_value("tallymark_database_errors_total", labels) or 0

    before = count()
    assert count_database_error(error) is failure
    assert count() == before + 1
