"""Every error that is no matter of one endpoint: 404, 405, 408, 500, 503, and request ids."""

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

import service.ingest.endpoints
from service.events import InvalidEventError
from service.ingest import writer
from service.problems import FieldError, Problem, ProblemKind
from tests.http.support import (
    assert_problem,
    event,
    event_bytes,
    events_in,
    exchange,
    status_of,
)
from tests.support.databases import Database, blocked_table
from tests.support.services import running_service

GETS = [
    "/",
    "/analytics/event-counts",
    "/analytics/event-counts-by-type",
    "/events/export",
    "/events/019ab697-e87b-7d57-872c-f4cea7318df9",
    "/health/live",
    "/health/ready",
    "/openapi.json",
    "/docs",
    "/docs/assets/swagger-ui.css",
]
COUNTS = ["/analytics/event-counts", "/analytics/event-counts-by-type"]


# 404 and 405


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/Events",
        "/events/1/2",
        "/events/",
        "/analytics",
        "/analytics/event-counts/x",
        "/health",
        "/docs/assets/nothing.js",
        "/docs/assets/..%2f..%2f__init__.py",
        "/docs/assets/%2e%2e/%2e%2e/core.py",
        "/docs/assets/%00",
        "/docs/assets/" + "a" * 300,
        "/%00",
        "/%ff",
        "/%0d%0aX-Injected:1",
        "/" + "a" * 5000,
    ],
)
def test_what_is_not_there_is_404(service: httpx.Client, method: str, path: str) -> None:
    answer = service.request(method, path)
    # The assets are files: they answer 405 to all but GET and HEAD, there or not.
    is_asset = path.startswith("/docs/assets") and method != "GET"
    assert_problem(answer, 405 if is_asset else 404)
    assert "x-injected" not in answer.headers


@pytest.mark.parametrize(
    ("path", "told"),
    [("/events/", True), ("/health/live/", True), ("/nowhere/", False), ("/events//", False)],
)
def test_a_slash_too_many_is_told(service: httpx.Client, path: str, told: bool) -> None:
    detail = assert_problem(service.post(path, json=event()), 404)["detail"]
    assert (f"{path[:-1]} is, without the slash" in detail) == told


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", GETS)
def test_what_is_read_can_only_be_read(service: httpx.Client, method: str, path: str) -> None:
    answer = service.request(method, path)
    assert_problem(answer, 405)
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_events_can_only_be_posted_and_read(service: httpx.Client, method: str) -> None:
    answer = service.request(method, "/events")
    assert_problem(answer, 405)
    assert answer.headers["allow"] == "GET, HEAD, POST"


def test_head_of_events_has_no_body(service: httpx.Client) -> None:
    answer = service.head("/events")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("path", GETS)
def test_head_is_get_without_its_body(service: httpx.Client, path: str) -> None:
    head, get = service.head(path), service.get(path)
    assert head.status_code == get.status_code
    assert head.content == b""
    for name in ("content-type", "content-length", "location"):
        assert head.headers.get(name) == get.headers.get(name)


def test_head_of_a_wrong_query_is_400(service: httpx.Client) -> None:
    assert service.head("/analytics/event-counts?x=1").status_code == 400


def test_the_root_leads_to_the_dashboard(service: httpx.Client) -> None:
    answer = service.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/dashboard/")
    assert service.get("/", follow_redirects=True).status_code == 200


@pytest.mark.parametrize(
    "host", ["[", "[::1", "]", "a b", "a:b:c", "\xff", "x" * 5000, "evil'\"<>"]
)
@pytest.mark.parametrize("target", ["POST /events", "GET /nowhere", "GET /", "GET /docs/"])
def test_any_host_header_is_served(service: httpx.Client, host: str, target: str) -> None:
    request = f"{target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n".encode("latin-1")
    body = event_bytes()
    answer = exchange(service.base_url, request + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert status_of(answer) in (202, 307, 400, 404)


@pytest.mark.parametrize(
    "line",
    [b"GET /\xff HTTP/1.1", b"GET /a\x01b HTTP/1.1", b"BREW / HTTP/1.1", b"GET\0 / HTTP/1.1"],
)
def test_a_line_that_is_no_request_is_400(service: httpx.Client, line: bytes) -> None:
    assert status_of(exchange(service.base_url, line + b"\r\nHost: x\r\n\r\n")) == 400


# Request ids


@pytest.mark.parametrize("given", ["a", "0123456789abcdef", "A.b_c-9", "x" * 64])
@pytest.mark.parametrize("path", ["/health/live", "/nowhere", "/analytics/event-counts?x=1"])
def test_a_sane_request_id_is_echoed(service: httpx.Client, given: str, path: str) -> None:
    answer = service.get(path, headers={"X-Request-ID": given})
    assert answer.headers["x-request-id"] == given
    if not answer.is_success:
        assert answer.json()["request_id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, 'a"b', "a\tb", "a;b", "\xe9", "<a>", "a/b"])
def test_another_request_id_is_replaced(service: httpx.Client, given: str) -> None:
    answer = service.get("/nowhere", headers={b"X-Request-ID": given.encode("latin-1")})
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_each_request_has_an_id_of_its_own(service: httpx.Client) -> None:
    ids = {service.post("/events", json=event()).headers["x-request-id"] for _ in range(20)}
    assert len(ids) == 20


# 408


@pytest.fixture
def impatient_service(
    shared_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[httpx.URL]:
    """The URL of a service that waits for a body for a tenth of a second."""
    monkeypatch.setattr(service_endpoints(), "BODY_SECONDS", 0.1)
    with running_service(database_url=shared_database_url) as base_url:
        yield httpx.URL(base_url)


def slowly(path: str) -> bytes:
    """Return the beginning of a request whose body does not come."""
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode()


@pytest.mark.parametrize("path", ["/events", "/events/batch"])
def test_a_body_that_does_not_come_is_408(impatient_service: httpx.URL, path: str) -> None:
    # The connection is closed: the rest of the body may come yet, and is no request.
    answer = exchange(impatient_service, slowly(path))
    assert status_of(answer) == 408
    assert b"application/problem+json" in answer
    assert b"connection: close" in answer.lower()


def test_bodies_that_do_not_come_hold_nobody_up(impatient_service: httpx.URL) -> None:
    with ThreadPoolExecutor(50) as senders:
        slow = [senders.submit(exchange, impatient_service, slowly("/events")) for _ in range(50)]
        served = 0
        while not served or not all(one.done() for one in slow):
            assert httpx.post(f"{impatient_service}/events", json=event()).status_code == 202
            served += 1
    assert {status_of(one.result()) for one in slow} == {408}


def test_senders_that_go_before_their_body_has_come_are_forgotten(
    impatient_service: httpx.URL,
) -> None:
    for _ in range(20):
        with socket.create_connection(
            (impatient_service.host, impatient_service.port or 80)
        ) as one:
            one.sendall(slowly("/events"))
    assert status_of(exchange(impatient_service, slowly("/events"))) == 408
    assert httpx.post(f"{impatient_service}/events", json=event()).status_code == 202


def service_endpoints() -> Any:
    return service.ingest.endpoints


# 500


def test_a_defect_is_500_and_shows_nothing(
    service: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: bytes) -> None:
        raise psycopg.errors.UndefinedTable('relation "secrets" does not exist\nLINE 1: select')

    monkeypatch.setattr(service_endpoints(), "parse_event", fail)
    answer = service.post("/events", json=event())
    problem = assert_problem(answer, 500)
    assert set(problem) == {"type", "title", "status", "detail", "request_id"}
    assert "secrets" not in answer.text
    assert "psycopg" not in answer.text


def test_after_a_defect_others_are_served(
    service: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(service_endpoints(), "parse_event", lambda _: 1 / 0)
        assert service.post("/events", json=event()).status_code == 500
    assert service.post("/events", json=event()).status_code == 202


def test_a_count_that_the_schema_does_not_allow_is_500_and_shows_nothing(
    service: httpx.Client, database: Database
) -> None:
    database.execute("alter function event_counts rename to event_counts_elsewhere")
    try:
        answer = service.get("/analytics/event-counts")
    finally:
        database.execute("alter function event_counts_elsewhere rename to event_counts")
    assert_problem(answer, 500)
    assert "event_counts" not in answer.text


def test_every_kind_of_problem_is_a_whole_document() -> None:
    for kind in ProblemKind:
        problem = Problem(
            kind, "Why.", [FieldError(field="f", message="m")], more={"event_id": "x"}
        )
        answer = problem.response("id")
        assert answer.status_code == kind.status
        assert ("retry-after" in answer.headers) == (kind.status in (429, 503))
        document = json.loads(bytes(answer.body))
        assert document["errors"] == [{"field": "f", "message": "m"}]
        assert (document["event_id"], document["request_id"]) == ("x", "id")


def test_slugs_and_titles_of_problems_differ() -> None:
    assert len({kind.slug for kind in ProblemKind}) == len(ProblemKind)


@pytest.mark.parametrize(
    ("status", "kind"), [(404, "not-found"), (418, "malformed-request"), (599, "defect")]
)
def test_a_status_that_a_framework_raises_is_a_problem(status: int, kind: str) -> None:
    assert ProblemKind.of_status(status).slug == kind


def test_an_invalid_event_says_what_is_wrong_with_it() -> None:
    assert str(InvalidEventError([FieldError(field="f", message="m")])) == "m"


# 503: the database does not answer, or there is none. Without a spool; test_outage.py has one.


@pytest.fixture
def quick_service(shared_database_url: str) -> Iterator[httpx.Client]:
    """A service that waits half a second, with room for two events in its queue."""
    with (
        running_service(
            database_url=shared_database_url,
            ingest_deadline_seconds=0.5,
            read_deadline_seconds=0.5,
            ingest_queue_events=2,
            ingest_connections=1,
            spool_bytes=0,
        ) as base_url,
        httpx.Client(base_url=base_url, timeout=20) as client,
    ):
        client.post("/events", json=event()).raise_for_status()
        client.get("/analytics/event-counts").raise_for_status()
        yield client


def posted_while_blocked(
    service: httpx.Client, count: int, *, every: float = 0.05
) -> list[Future[httpx.Response]]:
    """Send events one after the other, so that the first is in flight and the rest are queued."""
    pool = ThreadPoolExecutor(count)
    answers = []
    for number in range(count):
        answers.append(pool.submit(service.post, "/events", json=event(f"blocked-{number}")))
        time.sleep(every)
    pool.shutdown(wait=False)
    return answers


def test_events_that_are_not_stored_in_time_are_503(
    quick_service: httpx.Client, shared_database_url: str, native: bool
) -> None:
    with blocked_table(shared_database_url, native=native):
        answers = [answer.result() for answer in posted_while_blocked(quick_service, 3)]
    problems = [assert_problem(answer, 503) for answer in answers]
    assert {problem["type"] for problem in problems} == {"urn:tallymark:problem:not-stored"}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)


def test_an_event_whose_outcome_is_unknown_bears_its_id(
    quick_service: httpx.Client, shared_database_url: str, native: bool
) -> None:
    with blocked_table(shared_database_url, native=native):
        answer = quick_service.post("/events", json=event())
    assert UUID(assert_problem(answer, 503)["event_id"]).version == 7


def test_an_event_that_was_withdrawn_is_not_stored_later(
    quick_service: httpx.Client,
    shared_database_url: str,
    database: Database,
    native: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A 503 that bears an event_id may have been stored, under that id; others never are."""
    # Expiry is seen at once, so that those in the queue expire before the writer takes them.
    monkeypatch.setattr(writer, "EXPIRY_SECONDS", 0.01)
    database.execute("delete from events")
    answers: list[httpx.Response] = []
    for _ in range(10):
        with blocked_table(shared_database_url, native=native):
            answers += [one.result() for one in posted_while_blocked(quick_service, 3, every=0.01)]
        _after_recovery(quick_service)
        if any("event_id" not in answer.json() for answer in answers):
            break
    uncertain = {answer.json().get("event_id") for answer in answers}
    assert None in uncertain, "none was withdrawn"
    assert {answer.status_code for answer in answers} == {503}
    rows = database.execute("select event_id::text from events where user_id like 'blocked-%'")
    assert {event_id for (event_id,) in rows} <= uncertain


def _after_recovery(service: httpx.Client) -> None:
    """Wait until an event can be stored again; whatever was queued before it has been written."""
    deadline = time.monotonic() + 20
    while service.post("/events", json=event("after")).status_code != 202:
        assert time.monotonic() < deadline


def test_a_full_queue_is_503_at_once(
    quick_service: httpx.Client, shared_database_url: str, native: bool
) -> None:
    with blocked_table(shared_database_url, native=native):
        answers = posted_while_blocked(quick_service, 3)
        started = time.monotonic()
        answer = quick_service.post("/events", json=event("one too many"))
        seconds = time.monotonic() - started
        not_ready = quick_service.get("/health/ready")
        for waiting in answers:
            waiting.result()
    problem = assert_problem(answer, 503)
    assert problem["type"] == "urn:tallymark:problem:queue-full"
    assert int(answer.headers["retry-after"]) > 0
    assert seconds < 0.3
    assert_problem(not_ready, 503)


def test_after_an_outage_events_are_stored_again(
    quick_service: httpx.Client, shared_database_url: str, database: Database, native: bool
) -> None:
    with blocked_table(shared_database_url, native=native):
        assert quick_service.post("/events", json=event()).status_code == 503
    _after_recovery(quick_service)
    before = events_in(database)
    assert quick_service.post("/events", json=event()).status_code == 202
    assert events_in(database) == before + 1
    assert quick_service.get("/health/ready").status_code == 200


@pytest.mark.parametrize("path", COUNTS)
def test_counts_that_are_not_answered_in_time_are_503(
    quick_service: httpx.Client, shared_database_url: str, native: bool, path: str
) -> None:
    with blocked_table(shared_database_url, native=native):
        answer = quick_service.get(path)
    problem = assert_problem(answer, 503)
    assert problem["type"] == "urn:tallymark:problem:counts-unavailable"
    assert int(answer.headers["retry-after"]) > 0
    assert "statement" not in answer.text


class SilentProxy:
    """Passes bytes on to a database until it is told to keep silent; connections stay open."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open = [self._listener]
        self._speaking = threading.Event()
        self._speaking.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "SilentProxy":
        return self

    def __exit__(self, *_: object) -> None:
        self._speaking.set()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def keep_silent(self) -> None:
        self._speaking.clear()

    def speak(self) -> None:
        self._speaking.set()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._speaking.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(shared_database_url: str) -> Iterator[SilentProxy]:
    parts = psycopg.conninfo.conninfo_to_dict(shared_database_url)
    with SilentProxy(str(parts["host"]), int(parts["port"] or 5432)) as proxy:
        yield proxy


@pytest.fixture
def service_by_proxy(shared_database_url: str, proxy: SilentProxy) -> Iterator[httpx.Client]:
    parts = psycopg.conninfo.conninfo_to_dict(shared_database_url)
    with (
        running_service(
            database_url=f"postgresql://postgres@127.0.0.1:{proxy.port}/{parts['dbname']}",
            ingest_deadline_seconds=0.5,
            read_deadline_seconds=0.5,
            spool_bytes=0,
        ) as base_url,
        httpx.Client(base_url=base_url, timeout=8) as client,
    ):
        client.post("/events", json=event()).raise_for_status()
        client.get("/analytics/event-counts").raise_for_status()
        try:
            yield client
        finally:
            proxy.speak()


# What the pool and psycopg say of their attempts is no failure of these tests.
away = pytest.mark.filterwarnings("default")


@away
@pytest.mark.parametrize("path", COUNTS)
def test_a_database_that_falls_silent_is_503_within_the_deadline(
    service_by_proxy: httpx.Client, proxy: SilentProxy, path: str
) -> None:
    proxy.keep_silent()
    started = time.monotonic()
    answer = service_by_proxy.get(path)
    assert time.monotonic() - started < 3 * 2
    assert_problem(answer, 503)
    assert int(answer.headers["retry-after"]) > 0


@away
def test_a_service_whose_database_falls_silent_is_ready_again_when_it_speaks(
    service_by_proxy: httpx.Client, proxy: SilentProxy
) -> None:
    proxy.keep_silent()
    assert status_within(service_by_proxy, "/health/ready", 503, seconds=3 * 3)
    proxy.speak()
    assert status_within(service_by_proxy, "/health/ready", 200, seconds=3 * 3)


def status_within(client: httpx.Client, path: str, status: int, seconds: float) -> bool:
    """Return whether a path answers a status before the time is over."""
    deadline = time.monotonic() + seconds
    while client.get(path).status_code != status:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@away
def test_an_event_is_503_while_the_database_is_silent(
    service_by_proxy: httpx.Client, proxy: SilentProxy
) -> None:
    proxy.keep_silent()
    answer = service_by_proxy.post("/events", json=event("silent"))
    assert_problem(answer, 503)
    assert service_by_proxy.get("/health/live").is_success


@away
def test_counts_are_503_when_the_database_has_gone(
    service_by_proxy: httpx.Client, proxy: SilentProxy
) -> None:
    proxy.__exit__()
    for path in COUNTS:
        answer = service_by_proxy.get(path)
        problem = assert_problem(answer, 503)
        assert problem["type"] == "urn:tallymark:problem:counts-unavailable"
        assert str(proxy.port) not in answer.text


@away
def test_events_are_503_when_the_database_has_gone(
    service_by_proxy: httpx.Client, proxy: SilentProxy
) -> None:
    proxy.__exit__()
    answer = service_by_proxy.post("/events", json=event())
    assert_problem(answer, 503)
    assert int(answer.headers["retry-after"]) > 0
    assert_problem(service_by_proxy.get("/health/ready"), 503)
