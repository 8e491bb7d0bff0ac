"""The production proxy's own file, in a Caddy before the service: what it lets through."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import httpx
import pytest

from service.access.keys import Kind
from service.access.records import records
from tests.deployment.caddy import Proxy, caddy, needs_caddy
from tests.http.support import event
from tests.support.services import running_service

pytestmark = needs_caddy

PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def keys(shared_database_url: str) -> dict[str, str]:
    """Keys by their kinds."""
    with records(shared_database_url) as known:
        return {kind: known.create_key(kind, 1, "") for kind in get_args(Kind)}


@pytest.fixture(scope="module")
def proxy(
    shared_database_url: str, keys: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """Caddy before a service as compose starts it."""
    settings = {"keys_required": True, "trusted_proxies": "127.0.0.1/32", "users_api": True}
    with (
        running_service(database_url=shared_database_url, **settings) as base_url,
        caddy(tmp_path_factory.mktemp("caddy"), base_url) as proxy,
    ):
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[httpx.Client]:
    """A client of the proxy."""
    with httpx.Client(base_url=proxy.base_url, verify=proxy.trust, timeout=60) as client:
        yield client


INTERNAL = [
    "/metrics",
    "/%6detrics",
    "/METRICS",
    "//metrics",
    "/metrics/",
    "/./metrics",
    "/x/../metrics",
    "/metrics%2F",
    "/users",
    "/users?user_id=x",
    "/users/export",
    "/Users/Export",
    "//users/export",
    "/%75sers",
]


@pytest.mark.parametrize("path", INTERNAL)
def test_what_is_internal_is_not_passed_on(proxy: Proxy, keys: dict[str, str], path: str) -> None:
    with proxy.connect() as connection:
        head = (
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {keys['admin']}\r\n"
        )
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 404 ")


def test_browsers_speak_http_2_and_come_by_tls_only(proxy: Proxy, client: httpx.Client) -> None:
    with proxy.connect("h2", "http/1.1") as connection:
        assert connection.selected_alpn_protocol() == "h2"
    answer = client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_cookies_are_secure_though_the_service_speaks_plain_http(
    client: httpx.Client, keys: dict[str, str]
) -> None:
    # What the client says of itself is replaced.
    answer = client.post(
        "/login", data={"key": keys["read"]}, headers={"X-Forwarded-Proto": "http"}
    )
    assert answer.status_code == 303
    assert "; Secure" in answer.headers["Set-Cookie"]


def test_nobody_chooses_the_address_that_is_limited(
    shared_database_url: str, tmp_path: Path
) -> None:
    settings = {"trusted_proxies": "127.0.0.1/32", "address_requests_per_second": 1}
    with (
        running_service(database_url=shared_database_url, **settings) as base_url,
        caddy(tmp_path, base_url) as proxy,
        httpx.Client(base_url=proxy.base_url, verify=proxy.trust, timeout=60) as client,
    ):
        statuses = [
            client.post(
                "/events", json=event(), headers={"X-Forwarded-For": f"192.0.2.{number}"}
            ).status_code
            for number in range(100)
        ]
    assert statuses[0] == 202
    assert 429 in statuses


@pytest.mark.parametrize(
    ("path", "size"),
    [("/events", 65_537), ("/events", 2_000_000), ("/events/batch", 8 * 2**20 + 1)],
)
def test_large_bodies_are_413(
    client: httpx.Client, keys: dict[str, str], path: str, size: int
) -> None:
    headers = {"Authorization": f"Bearer {keys['write']}", "Content-Type": "application/json"}
    answer = client.post(path, content=b" " * size, headers=headers)
    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == PROBLEM


def test_large_heads_are_431(client: httpx.Client) -> None:
    assert client.get("/docs", headers={"X-Large": "x" * 40_000}).status_code == 431


def test_pages_are_compressed_and_exports_are_not(
    client: httpx.Client, keys: dict[str, str]
) -> None:
    read = {"Authorization": f"Bearer {keys['read']}"}
    client.headers["Accept-Encoding"] = "gzip"
    for path in ("/docs/assets/swagger-ui-bundle.js", "/openapi.json", "/demo/", "/tallymark.js"):
        assert client.get(path).headers["Content-Encoding"] == "gzip", path
    export = client.get("/events/export", params={"format": "csv"}, headers=read)
    assert export.status_code == 200
    assert "Content-Encoding" not in export.headers


def test_who_sends_slowly_is_let_go(proxy: Proxy, keys: dict[str, str]) -> None:
    body = f"POST /events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {keys['write']}\r\n"

    def answer_to(begun: str) -> tuple[bytes, float]:
        with proxy.connect() as connection:
            connection.sendall(begun.encode())
            begin = time.monotonic()
            return connection.recv(1000), time.monotonic() - begin

    with ThreadPoolExecutor() as pool:
        head = pool.submit(answer_to, "GET /docs HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        slow = pool.submit(answer_to, f"{body}Content-Length: 60\r\n\r\n{{")
        said, seconds = head.result()
        assert (said, seconds >= 5) == (b"", True)
        said, seconds = slow.result()
        assert said.startswith(b"HTTP/1.1 408 ")


def test_where_no_instance_is_there_senders_are_told_to_try_again(tmp_path: Path) -> None:
    with running_service(database_url="postgresql://127.0.0.1:1/none") as base_url:
        with_caddy = caddy(tmp_path, base_url)
        proxy = with_caddy.__enter__()
    try:
        answer = httpx.post(
            f"{proxy.base_url}/events", json=event(), verify=proxy.trust, timeout=60
        )
        assert answer.status_code in {502, 503}
        assert answer.headers["Retry-After"] == "5"
        assert answer.headers["Content-Type"] == PROBLEM
        assert answer.json()["status"] == answer.status_code
    finally:
        with_caddy.__exit__(None, None, None)
