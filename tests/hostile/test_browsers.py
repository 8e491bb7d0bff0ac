"""What browsers are told with each answer: that it is what it says, and is kept by nobody."""

import httpx
import pytest

from tests.http.support import event, exchange

PAGES = ["/docs", "/demo/", "/dashboard/"]
DATA = [
    "/analytics/event-counts",
    "/analytics/event-counts-by-type",
    "/analytics/event-counts-over-time?interval=day&start_date=2025-05-01&end_date=2025-05-02",
    "/analytics/top-pages",
    "/analytics/top-elements",
    "/analytics/active-users",
    "/events",
    "/events/export",
    "/events/export?format=csv",
    "/health/live",
    "/health/ready",
    "/metrics",
]
OTHERS = [
    "/",
    "/openapi.json",
    "/tallymark.js",
    "/docs/assets/swagger-ui.css",
    "/dashboard/main.js",
    "/dashboard/vendor/uplot/uPlot.min.css",
    "/demo/service-worker.js",
]
WRONG = ["/nowhere", "/events/1", "/analytics/event-counts?x=1", "/docs/assets/none"]


@pytest.mark.parametrize("path", PAGES + DATA + OTHERS + WRONG)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_every_answer_is_what_it_says(service: httpx.Client, method: str, path: str) -> None:
    headers = service.request(method, path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["content-security-policy"].split("; ")
    assert "default-src 'none'" in headers["content-security-policy"].split("; ")
    assert headers["x-request-id"]
    assert "server" not in headers
    assert len(headers.get_list("content-security-policy")) == 1
    assert len(headers.get_list("cache-control")) == 1


@pytest.mark.parametrize("path", DATA + WRONG)
def test_nothing_of_anyone_is_kept(service: httpx.Client, path: str) -> None:
    assert service.get(path).headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", PAGES)
def test_pages_run_only_scripts_of_ours(service: httpx.Client, path: str) -> None:
    policy = service.get(path).headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy
    assert "base-uri 'none'" in policy


def test_the_answer_to_an_event_is_json_and_no_more(service: httpx.Client) -> None:
    answer = service.post("/events", json=event())
    assert answer.status_code == 202
    expected = {"date", "content-length", "content-type", "x-request-id"}
    assert set(answer.headers) == expected
    assert answer.headers["content-type"] == "application/json"


def test_so_is_that_to_what_is_no_request(service: httpx.Client) -> None:
    answer = exchange(service.base_url, b"no request\r\n\r\n").lower()
    for line in (
        b"x-content-type-options: nosniff",
        b"x-frame-options: deny",
        b"referrer-policy: same-origin",
        b"cache-control: no-store",
        b"content-security-policy: default-src 'none'; frame-ancestors 'none'",
    ):
        assert answer.count(b"\r\n" + line + b"\r\n") == 1
    assert b"\r\nserver:" not in answer
