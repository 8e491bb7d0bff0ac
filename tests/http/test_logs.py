"""The log: one line an entry, every error, a line a flush, and nothing of anyone's data."""

import json
import re
import time
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from structlog.testing import capture_logs

import service.ingest.endpoints
from tests.http.support import event, event_bytes, exchange
from tests.support.services import ServiceProcess, running_service

SECRET = "s3cret-7f1d"

Entries = list[MutableMapping[str, Any]]


@pytest.fixture
def entries(service: httpx.Client) -> Iterator[Entries]:
    """What the shared service logs during a test."""
    with capture_logs() as entries:
        yield entries


def after_flush(entries: Entries, count: int = 1) -> Entries:
    """Return the entries once so many events have been noted as written."""
    deadline = time.monotonic() + 10
    while sum(entry["events"] for entry in entries if entry["event"] == "flush") < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return entries


def requests_in(entries: Entries) -> Entries:
    """Return the entries of requests, once the last one is there."""
    deadline = time.monotonic() + 10
    while not (found := [entry for entry in entries if entry["event"] == "request"]):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return found


def test_a_request_is_one_line(service: httpx.Client, entries: Entries) -> None:
    answer = service.get("/analytics/event-counts", headers={"X-Request-ID": "mine"})
    assert answer.status_code == 200
    (entry,) = requests_in(entries)
    assert entry["request_id"] == "mine"
    assert (entry["method"], entry["path"], entry["status"]) == (
        "GET",
        "/analytics/event-counts",
        200,
    )
    assert entry["milliseconds"] > 0
    assert entry["log_level"] == "info"


def test_a_stored_event_is_one_line_a_flush(service: httpx.Client, entries: Entries) -> None:
    service.post("/events", json=event()).raise_for_status()
    (entry,) = after_flush(entries)
    assert (entry["event"], entry["events"]) == ("flush", 1)
    assert entry["milliseconds"] > 0


def test_by_setting_a_stored_event_is_a_line_a_request_too(shared_database_url: str) -> None:
    with (
        running_service(database_url=shared_database_url, log_ingest_requests=True) as base_url,
        capture_logs() as entries,
    ):
        answer = httpx.post(f"{base_url}/events", json=event())
        (entry,) = requests_in(entries)
    assert entry["status"] == 202
    assert entry["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/nowhere", "not-found"), ("/analytics/event-counts?x=1", "invalid-query")],
)
def test_a_refusal_is_logged_with_its_kind(
    service: httpx.Client, entries: Entries, path: str, kind: str
) -> None:
    answer = service.get(path)
    (entry,) = requests_in(entries)
    assert entry["problem"] == kind
    assert entry["request_id"] == answer.headers["x-request-id"]


def test_a_refused_event_is_logged_with_what_was_wrong(
    service: httpx.Client, entries: Entries
) -> None:
    service.post("/events", json=event() | {"event_type": "purchase"})
    (entry,) = requests_in(entries)
    assert (entry["status"], entry["problem"]) == (400, "invalid-event")
    assert "event_type" in str(entry["errors"])


def test_a_defect_is_logged_once_with_its_traceback(
    service: httpx.Client, entries: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: bytes) -> None:
        raise psycopg.errors.UndefinedTable("no such table")

    monkeypatch.setattr(endpoints(), "parse_event", fail)
    answer = service.post("/events", json=event())
    (request,) = requests_in(entries)
    (defect,) = [entry for entry in entries if entry["event"] != "request"]
    assert defect["exc_info"]
    assert defect["log_level"] == request["log_level"] == "error"
    assert defect["request_id"] == request["request_id"] == answer.headers["x-request-id"]


def endpoints() -> Any:
    return service.ingest.endpoints


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(event(f"user-{SECRET}", url=f"/{SECRET}", title=SECRET)).encode(),
        json.dumps(event(SECRET, url=[SECRET])).encode(),
        json.dumps(event(SECRET, **{SECRET: float("nan")})).encode(),
        json.dumps(event(SECRET, a={SECRET: {"b": "\0"}})).encode(),
        json.dumps(event(SECRET * 100)).encode(),
        json.dumps(event(SECRET) | {"event_type": SECRET}).encode(),
        json.dumps(event() | {SECRET: 1}).encode(),
        json.dumps(event() | {"payload": SECRET}).encode(),
        SECRET.encode(),
        event_bytes()[:-1] + f',"{SECRET}'.encode(),
    ],
)
def test_nothing_of_an_event_is_logged(
    service: httpx.Client, entries: Entries, body: bytes
) -> None:
    if service.post("/events", content=body).status_code == 202:
        after_flush(entries)
    else:
        requests_in(entries)
    assert SECRET not in str(entries)


def test_no_values_of_a_query_are_logged(service: httpx.Client, entries: Entries) -> None:
    service.get(f"/analytics/event-counts?tz={SECRET}&start_date={SECRET}&site={SECRET}")
    assert requests_in(entries)
    assert SECRET not in str(entries)


def test_a_refusal_of_many_things_is_a_short_line(service: httpx.Client, entries: Entries) -> None:
    service.post("/events", content=event_bytes(b'"a":[' + b"NaN," * 15_000 + b"0]"))
    (entry,) = requests_in(entries)
    assert len(str(entry)) < 10_000


# As lines


@pytest.fixture(scope="module")
def process(
    shared_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[httpx.Client, Path]]:
    """A service as a process of its own, and the file that it logs to."""
    log = tmp_path_factory.mktemp("log") / "log"
    process = ServiceProcess(shared_database_url, log, LOG_FORMAT="json", LOG_LEVEL="info")
    process.start()
    try:
        with httpx.Client(base_url=process.base_url, timeout=20) as client:
            yield client, log
    finally:
        process.terminate()


def lines_after(process: tuple[httpx.Client, Path], before: str) -> list[str]:
    """Return the lines that were logged since, up to that of a last request."""
    client, log = process
    client.get("/nowhere", headers={"X-Request-ID": "last"})
    deadline = time.monotonic() + 10
    while not re.search(r'"request_id": "last".*\n\Z', text := log.read_text()[len(before) :]):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return text.splitlines()[:-1]


def test_what_is_no_request_is_one_line(process: tuple[httpx.Client, Path]) -> None:
    client, log = process
    before = log.read_text()
    assert b" 400 " in exchange(client.base_url, b"GET\r\n\r\n").split(b"\r\n")[0]
    (line,) = lines_after(process, before)
    entry = json.loads(line)
    assert (entry["event"], entry["status"]) == ("connection refused", 400)


def test_the_start_and_the_stop_of_each_worker_are_a_line(
    shared_database_url: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    process = ServiceProcess(shared_database_url, log, LOG_FORMAT="json", WORKERS="2")
    with process.running():
        deadline = time.monotonic() + 20
        while log.read_text().count('"serving"') < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert process.terminate() == 0
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    started = pids_of(entries, "worker started")
    assert started.keys() == {1, 2}
    assert pids_of(entries, "serving") == pids_of(entries, "stopped") == started
    serving = next(entry for entry in entries if entry["event"] == "serving")
    assert (serving["address"], serving["port"]) == ("127.0.0.1", process.port)
    assert serving["database_away"] is False


def pids_of(entries: list[dict[str, Any]], event: str) -> dict[int, int]:
    """Return the pid of each worker with such an entry."""
    return {entry["worker"]: entry["pid"] for entry in entries if entry["event"] == event}


def test_an_entry_is_a_line_of_json(process: tuple[httpx.Client, Path]) -> None:
    client, log = process
    before = log.read_text()
    client.post("/events", json=event()).raise_for_status()
    client.get("/analytics/event-counts").raise_for_status()
    entries = [json.loads(line) for line in lines_after(process, before)]
    assert [entry["event"] for entry in entries] == ["flush", "request"]
    for entry in entries:
        assert entry["level"] == "info"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", entry["timestamp"])


@pytest.mark.parametrize(
    "path",
    ["/%0a%0dforged", "/%1b[31m", "/%00", "/%c2%85%e2%80%a8", "/a\tb".replace("\t", "%09"), "/é"],
)
def test_control_characters_of_a_path_do_not_reach_the_log(
    process: tuple[httpx.Client, Path], path: str
) -> None:
    client, log = process
    before = log.read_text()
    client.get(path)
    (line,) = lines_after(process, before)
    assert line.isascii()
    assert line.isprintable()


def test_control_characters_of_names_do_not_reach_the_log(
    process: tuple[httpx.Client, Path],
) -> None:
    client, log = process
    before = log.read_text()
    client.get("/analytics/event-counts?a%0aforged%1b%c2%85=1")
    client.post("/events", json=event() | {"a\nforged\x1b\x85\u2028": 1})
    lines = lines_after(process, before)
    assert len(lines) == 2
    assert all(line.isascii() and line.isprintable() for line in lines)


def test_what_is_no_http_does_not_break_the_log(process: tuple[httpx.Client, Path]) -> None:
    client, log = process
    before = log.read_text()
    exchange(client.base_url, b"\x1b[31m forged \xff\n\r\n\r\n")
    for line in lines_after(process, before):
        assert json.loads(line)


def test_a_traceback_is_one_line(
    process: tuple[httpx.Client, Path], shared_database_url: str
) -> None:
    client, log = process
    before = log.read_text()
    with psycopg.connect(shared_database_url, autocommit=True) as database:
        database.execute("alter function event_counts rename to event_counts_elsewhere")
        try:
            assert client.get("/analytics/event-counts").status_code == 500
        finally:
            database.execute("alter function event_counts_elsewhere rename to event_counts")
    defect, request = (json.loads(line) for line in lines_after(process, before))
    assert defect["exception"].count("Traceback") == 1
    assert "UndefinedFunction" in defect["exception"]
    assert defect["request_id"] == request["request_id"]
    assert request["status"] == 500
