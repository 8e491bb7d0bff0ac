"""Every answer of every route: /openapi.json describes it, and it shows nothing of the inside."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import httpx
import psycopg
import pytest
from jsonschema import Draft202012Validator

from service.access.described import kind_of
from service.requests import Direct
from tests.access.support import auth
from tests.http.support import event, exchange, status_of
from tests.http.test_documentation import DESCRIPTION, operations
from tests.support.services import service_client

PATHS = [(path, method) for path, method, _ in operations()]
INSIDE = re.compile(
    r"""traceback|\.py\b|/(?:home|usr|work|tmp|srv|app|root|var)/|\bLINE\ \d+:|",\ line\ \d+
    |psycopg|pydantic|starlette|uvicorn|asyncio|httptools|postgres|timescale|pg_|\bsqlstate\b
    |\bselect\b.*\bfrom\b|\binsert\ into\b|\brelation\b|\bcolumn\ "|\bfunction\b|\bconstraint\b
    |[a-z](?:Error|Exception|Timeout|Failure)\b|\b0x[0-9a-f]{4,}|<class|\bNone\b|s3cret
    |127\.0\.0\.1|\blocalhost\b""",
    re.VERBOSE,
)
"""What an answer must not hold; in capitals and small letters as they would be."""
SECRET = (
    'relation "s3cret" does not exist\nLINE 1: select * from s3cret\nFile "/srv/s3cret.py", line 1'
)

Answers = dict[tuple[str, str], set[int]]


def target_of(path: str) -> str:
    """Return a URL's path and a query that is right."""
    query = "?interval=day&start_date=2025-05-01&end_date=2025-05-02" if "over-time" in path else ""
    query = "?user_id=u" if path.startswith("/users") else query
    return path.format(event_id="019ab697-e87b-7d57-872c-f4cea7318df9") + query


def send(client: httpx.Client, path: str, method: str, **options: Any) -> httpx.Response:
    """Send a request that is right, but for what the options say."""
    body = {"/events": event(), "/events/batch": [event()]}.get(path) if method == "post" else None
    if "content" not in options and body is not None:
        options["json"] = body
    return client.request(method, target_of(path), **options)


def parsed(answer: bytes) -> httpx.Response:
    """Return an answer that came over a socket."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = [line.split(b": ", 1) for line in head.split(b"\r\n")[1:]]
    headers = [(name, value) for name, value in lines]
    return httpx.Response(status_of(answer), headers=headers, content=body)


def check(path: str, method: str, answer: httpx.Response) -> None:
    """Check that an answer is described, is as described, and shows nothing."""
    described = DESCRIPTION["paths"][path][method]["responses"]
    assert str(answer.status_code) in described, (path, method, answer.status_code)
    assert answer.headers["x-request-id"]
    if answer.status_code in (202, 304) or answer.is_success:
        return
    assert answer.headers["content-type"] == "application/problem+json"
    content = described[str(answer.status_code)]["content"]["application/problem+json"]
    Draft202012Validator(content["schema"] | {"components": DESCRIPTION["components"]}).validate(
        answer.json()
    )
    slugs = [answer.json()["type"].rpartition(":")[2]]
    assert set(slugs) <= set(content["examples"]), (path, method, slugs)
    if answer.status_code == 503:
        assert int(answer.headers["retry-after"]) > 0
    assert_shows_nothing(answer)


def assert_shows_nothing(answer: httpx.Response) -> None:
    shown = answer.text + str(answer.headers)
    assert not INSIDE.search(shown), INSIDE.search(shown)


@pytest.fixture(scope="module")
def seen() -> Answers:
    """Which statuses each operation has answered."""
    return {operation: set() for operation in PATHS}


@pytest.fixture(scope="module")
def client(shared_database_url: str) -> Iterator[httpx.Client]:
    """A client of a service that soon loses patience."""
    with service_client(
        database_url=shared_database_url, users_api=True, head_seconds=0.2, timeout=60
    ) as client:
        yield client


each = pytest.mark.parametrize(("path", "method"), PATHS)


@each
def test_what_is_right(seen: Answers, client: httpx.Client, path: str, method: str) -> None:
    answer = send(client, path, method)
    assert answer.status_code == (404 if "{" in path else 202 if method == "post" else 200)
    if "{" in path:
        check(path, method, answer)
        event_id = client.post("/events", json=event()).json()["event_id"]
        answer = client.get(f"/events/{event_id}")
        seen[path, method].add(404)
    check(path, method, answer)
    seen[path, method].add(answer.status_code)


@each
def test_a_query_that_is_wrong(seen: Answers, client: httpx.Client, path: str, method: str) -> None:
    answer = send(client, path, method, params={"x": "s3cret"})
    check(path, method, answer)
    seen[path, method].add(answer.status_code)


@each
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"Host: x\r\nHost: y\r\n\r\n", 400, id="two hosts"),
        pytest.param(b"Host: x\r\nUpgrade: h2c\r\nConnection: close\r\n\r\n", 400, id="an upgrade"),
        pytest.param(b"Host: x\r\nA: " + b"x" * 40_000 + b"\r\n\r\n", 431, id="a long head"),
        pytest.param(b"Host: x\r\n", 408, id="half a head"),
    ],
)
def test_heads_that_are_wrong(
    seen: Answers, client: httpx.Client, path: str, method: str, sent: bytes, status: int
) -> None:
    line = f"{method.upper()} {target_of(path)} HTTP/1.1\r\n".encode()
    answer = parsed(exchange(client.base_url, line + sent))
    assert answer.status_code == status
    check(path, method, answer)
    seen[path, method].add(status)


def fails(error: BaseException) -> Callable[..., Any]:
    async def fail(*_: object) -> NoReturn:
        raise error

    return fail


@each
@pytest.mark.parametrize(
    ("error", "status"),
    [
        pytest.param(psycopg.errors.UndefinedTable(SECRET), 500, id="the database"),
        pytest.param(OSError(2, "No such file", "/srv/s3cret.py"), 500, id="the disk"),
        pytest.param(KeyError("s3cret"), 500, id="a key"),
        pytest.param(RecursionError(SECRET), 500, id="too deep"),
        pytest.param(MemoryError(SECRET), 500, id="the memory"),
        pytest.param(asyncio.CancelledError(SECRET), 503, id="a stop"),
    ],
)
def test_defects_and_stops(
    seen: Answers,
    client: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    method: str,
    error: BaseException,
    status: int,
) -> None:
    monkeypatch.setattr(Direct, "__call__", fails(error))
    answer = send(client, path, method)
    assert answer.status_code == status
    check(path, method, answer)
    seen[path, method].add(status)


BODIES: list[tuple[dict[str, Any], int]] = [
    ({"content": b""}, 400),
    ({"content": b"s3cret"}, 400),
    ({"content": b"[" * 50_000}, 400),
    ({"content": b"\xff\xfe"}, 400),
    ({"content": b'{"user_id":1}'}, 400),
    ({"content": b"x" * 9_000_000}, 413),
    ({"content": b"{}", "headers": {"Content-Type": "text/s3cret"}}, 415),
    ({"content": b"{}", "headers": {"Content-Encoding": "s3cret"}}, 415),
    ({"params": {"s3cret_": "1"}}, 400),
]


@pytest.mark.parametrize("path", ["/events", "/events/batch"])
@pytest.mark.parametrize(("options", "status"), BODIES)
def test_bodies_that_are_wrong(
    seen: Answers, client: httpx.Client, path: str, options: dict[str, Any], status: int
) -> None:
    answer = send(client, path, "post", **options)
    assert answer.status_code == status
    described = {**answer.json()}
    # A field's name is the sender's own.
    for error in described.get("errors", []):
        error["field"] = ""
    check(
        path,
        "post",
        httpx.Response(status, headers=answer.headers, content=json.dumps(described).encode()),
    )
    seen[path, "post"].add(status)


@pytest.mark.parametrize("body", [b"\x1f\x8bs3cret", b"\x1f\x8b\x08\x00", b""])
def test_a_batch_that_can_not_be_inflated(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/events/batch", content=body, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 400
    check("/events/batch", "post", answer)


def test_a_body_that_does_not_come(
    seen: Answers, shared_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.ingest.endpoints.BODY_SECONDS", 0.1)
    with service_client(timeout=60, database_url=shared_database_url) as client:
        for path in ("/events", "/events/batch"):
            sent = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{".encode()
            answer = parsed(exchange(client.base_url, sent))
            assert answer.status_code == 408
            check(path, "post", answer)


def test_a_copy_that_is_current(seen: Answers, client: httpx.Client) -> None:
    path = "/tallymark.js"
    current = {"If-None-Match": client.get(path).headers["etag"]}
    answer = client.get(path, headers=current)
    assert answer.status_code == 304
    check(path, "get", answer)
    seen[path, "get"].add(304)


@each
def test_keys_that_will_not_do(
    seen: Answers, asking: httpx.Client, keys: dict[str, str], path: str, method: str
) -> None:
    kind = kind_of(path, method)
    if kind is None:
        return
    for key, status in ((None, 401), (keys["read 1" if kind == "write" else "write 1"], 403)):
        answer = send(asking, path, method, headers={} if key is None else auth(key))
        assert answer.status_code == status
        check(path, method, answer)
        seen[path, method].add(status)


def test_requests_that_are_too_many(seen: Answers, shared_database_url: str) -> None:
    limits = {"users_api": True, "address_requests_per_second": 0.01}
    with service_client(timeout=60, database_url=shared_database_url, **limits) as client:
        client.get("/events")
        for path, method in PATHS:
            if kind_of(path, method) is not None:
                answer = send(client, path, method)
                assert answer.status_code == 429
                check(path, method, answer)
                seen[path, method].add(429)


@pytest.mark.filterwarnings("default")  # What psycopg says of its attempts is no failure here.
def test_without_a_database(seen: Answers) -> None:
    with service_client(
        timeout=60,
        database_url="postgresql://s3cret:s3cret@127.0.0.1:1/s3cret",
        users_api=True,
        spool_bytes=0,
        ingest_deadline_seconds=0.5,
        read_deadline_seconds=0.5,
        export_deadline_seconds=0.5,
    ) as client:
        for path, method in PATHS:
            answer = send(client, path, method)
            check(path, method, answer)
            if path.startswith(("/events", "/analytics")):
                assert answer.status_code == 503
            seen[path, method].add(answer.status_code)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", DESCRIPTION["paths"])
def test_other_methods_and_paths(client: httpx.Client, path: str, method: str) -> None:
    for more, status in (("", 405), ("/s3cret.php/..;/x", 404)):
        if not more and method.lower() in DESCRIPTION["paths"][path]:
            continue
        target = target_of(path).partition("?")[0] + more
        answer = client.request(method, target)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        # The path is the sender's own.
        assert not INSIDE.search(answer.text.replace(target, ""))


def test_all_that_is_described_was_answered(seen: Answers) -> None:
    """The last: it needs all that stand before it in this file."""
    described = {
        (path, method): {int(status) for status in operation["responses"]}
        for path, method, operation in operations()
    }
    if any(not statuses for statuses in seen.values()):
        pytest.skip("only a part of this file was run")
    assert seen == described
