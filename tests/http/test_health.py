"""GET /health/live, /health/ready, and what they say while the database is away."""

import socket

import httpx
import pytest

from tests.http.support import assert_problem
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
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_probes_may_use_head(service: httpx.Client, path: str) -> None:
    answer = service.head(path)
    assert answer.status_code == 200
    assert answer.content == b""


# What the pool says of its attempts is no failure of the test.
@pytest.mark.filterwarnings("default")
def test_without_a_database_a_service_is_live_and_not_ready() -> None:
    with running_service(database_url=unused_url()) as base_url:
        assert httpx.get(f"{base_url}/health/live").status_code == 200
        answer = httpx.get(f"{base_url}/health/ready", timeout=20)
        problem = assert_problem(answer, 503)
        assert problem["type"] == "urn:tallymark:problem:not-ready"
        assert int(answer.headers["retry-after"]) > 0
        assert "127.0.0.1" not in answer.text
