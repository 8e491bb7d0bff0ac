"""CORS_ALLOWED_ORIGINS: which other origins' pages may send events and read counts."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import service.analytics.endpoints
from service.settings import SettingsError, load_settings
from tests.http.support import assert_problem, event
from tests.support.databases import blocked_table
from tests.support.services import running_service

ORIGIN = "https://www.example.com"
OTHER = "http://127.0.0.1:5500"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type",
}


@pytest.fixture(scope="module")
def allowing(shared_database_url: str) -> Iterator[httpx.Client]:
    """A client of a service that allows two origins; it sends the first of them."""
    with (
        running_service(
            database_url=shared_database_url,
            cors_allowed_origins=f"{ORIGIN}, {OTHER}",
            ingest_deadline_seconds=0.5,
            spool_bytes=0,
        ) as base_url,
        httpx.Client(base_url=base_url, timeout=20, headers={"Origin": ORIGIN}) as client,
    ):
        yield client


@pytest.fixture
def allowing_all(shared_database_url: str) -> Iterator[httpx.Client]:
    """A client of a service that allows every origin."""
    with (
        running_service(database_url=shared_database_url, cors_allowed_origins="*") as base_url,
        httpx.Client(base_url=base_url, timeout=20, headers={"Origin": ORIGIN}) as client,
    ):
        yield client


def cors_headers(answer: httpx.Response) -> set[str]:
    """Return the names of the CORS headers of an answer."""
    return {name for name in answer.headers if name.startswith("access-control-")}


def assert_readable(answer: httpx.Response, origin: str = ORIGIN) -> None:
    """Check that a page of an origin may read an answer, and three more of its headers."""
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-expose-headers"] == "X-Request-ID, Retry-After, Date"
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("origin", [ORIGIN, OTHER])
def test_each_origin_of_the_list_may_read_the_answer(allowing: httpx.Client, origin: str) -> None:
    answer = allowing.post("/events", json=event(), headers={"Origin": origin})
    assert answer.status_code == 202
    assert_readable(answer, origin)
    # Caches must keep the answers to different origins apart.
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/analytics/event-counts", {}, 200),
        ("POST", "/events", {"json": {}}, 400),
        ("POST", "/events", {"json": event(), "headers": {"Upgrade": "h2c"}}, 400),
        ("GET", "/analytics/event-counts?x=1", {}, 400),
        ("GET", "/nothing", {}, 404),
        ("GET", "/events", {}, 200),
        ("GET", "/events/export", {}, 200),
        ("PUT", "/events", {}, 405),
        ("POST", "/events", {"content": b"x" * 70_000}, 413),
        ("POST", "/events", {"headers": {"Content-Type": "text/html"}}, 415),
    ],
)
def test_errors_may_be_read_too(
    allowing: httpx.Client, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    answer = allowing.request(method, path, **options)
    assert answer.status_code == status
    assert_readable(answer)


def test_an_outage_may_be_read_with_its_retry_after(
    allowing: httpx.Client, shared_database_url: str, native: bool
) -> None:
    with blocked_table(shared_database_url, native=native):
        answer = allowing.post("/events", json=event())
    assert_problem(answer, 503)
    assert_readable(answer)
    assert int(answer.headers["retry-after"]) > 0


def test_a_defect_may_be_read(allowing: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(service.analytics.endpoints, "parse_query", fail)
    answer = allowing.get("/analytics/event-counts")
    assert_problem(answer, 500)
    assert_readable(answer)


def test_a_preflight_for_json_is_answered(allowing: httpx.Client) -> None:
    answer = allowing.options("/events", headers=PREFLIGHT)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "Content-Type" in answer.headers["access-control-allow-headers"]
    assert "X-Request-ID" in answer.headers["access-control-allow-headers"]
    assert answer.headers["x-request-id"]


def test_a_preflight_for_a_compressed_batch_is_answered(allowing: httpx.Client) -> None:
    wanted = {"Access-Control-Request-Headers": "authorization, content-encoding, content-type"}
    answer = allowing.options("/events/batch", headers=PREFLIGHT | wanted)
    assert answer.status_code == 200
    assert "Content-Encoding" in answer.headers["access-control-allow-headers"]


@pytest.mark.parametrize("origin", ["https://example.com", "http://www.example.com", "null"])
def test_an_origin_that_is_not_listed_gets_nothing(allowing: httpx.Client, origin: str) -> None:
    answer = allowing.post("/events", json=event(), headers={"Origin": origin})
    assert "access-control-allow-origin" not in answer.headers
    preflight = allowing.options("/events", headers=PREFLIGHT | {"Origin": origin})
    assert preflight.status_code == 400
    assert "access-control-allow-origin" not in preflight.headers


def test_a_star_allows_every_origin(allowing_all: httpx.Client) -> None:
    assert_readable(allowing_all.post("/events", json=event()), "*")
    preflight = allowing_all.options("/events", headers=PREFLIGHT)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "*"


def test_without_the_setting_there_is_no_header(service: httpx.Client) -> None:
    answer = service.post("/events", json=event(), headers={"Origin": ORIGIN})
    assert answer.status_code == 202
    assert cors_headers(answer) == set()
    assert "vary" not in answer.headers
    preflight = service.options("/events", headers=PREFLIGHT)
    assert_problem(preflight, 405)
    assert cors_headers(preflight) == set()


# The setting


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1/none")
    return monkeypatch


@pytest.mark.parametrize(
    ("value", "origins"),
    [
        ("", ()),
        (" ", ()),
        ("*", ("*",)),
        (ORIGIN, (ORIGIN,)),
        (f"{ORIGIN},{OTHER}", (ORIGIN, OTHER)),
        (f" {ORIGIN} , {OTHER} ", (ORIGIN, OTHER)),
        ("http://[::1]:5500", ("http://[::1]:5500",)),
        ("https://xn--bcher-kva.example", ("https://xn--bcher-kva.example",)),
    ],
)
def test_the_setting_is_a_list_with_commas(
    setting: pytest.MonkeyPatch, value: str, origins: tuple[str, ...]
) -> None:
    setting.setenv("CORS_ALLOWED_ORIGINS", value)
    assert load_settings().cors_allowed_origins == origins


@pytest.mark.parametrize(
    "value",
    [
        "www.example.com",
        "null",
        f"{ORIGIN}/",
        f"{ORIGIN}/shop",
        f"{ORIGIN}?",
        "https://WWW.example.com",
        "HTTPS://www.example.com",
        "https://www.example.com:443",
        "http://www.example.com:80",
        "http://www.example.com:65536",
        "https://user:secret@www.example.com",
        "https://bücher.example",
        "https://*.example.com",
        "ftp://www.example.com",
        f"{ORIGIN},",
        f"*,{ORIGIN}",
        f"{ORIGIN} {OTHER}",
    ],
)
def test_what_no_browser_sends_as_an_origin_is_refused_in_one_line(
    setting: pytest.MonkeyPatch, value: str
) -> None:
    setting.setenv("CORS_ALLOWED_ORIGINS", value)
    with pytest.raises(
        SettingsError,
        match=r"^The setting CORS_ALLOWED_ORIGINS is wrong: '[^\n]*' is not an origin [^\n]+\.$",
    ):
        load_settings()
