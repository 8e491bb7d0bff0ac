"""Keys while the database is away: what is known of them goes on, and outlives the process."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.access.keys import id_of
from service.access.records import records
from service.database.migrations import migrate
from tests.access.support import asking_service, auth, make_keys
from tests.embedded.conftest import eventually
from tests.http.support import assert_problem, event
from tests.support.proxy import Proxy
from tests.support.services import ServiceProcess, wait_until_replayed

# What the pool and psycopg say of their attempts is no failure of these tests.
pytestmark = pytest.mark.filterwarnings("default")

UNKNOWN = "tmw_" + "0" * 10 + "_" + "0" * 64
QUICK = {"INGEST_DEADLINE_SECONDS": "1", "KEYS_REFRESH_SECONDS": "0.2", "KEYS_REQUIRED": "true"}


@pytest.fixture
def proxy(empty_database_url: str) -> Iterator[Proxy]:
    """What stands before a database of the test's own."""
    migrate(empty_database_url)
    with Proxy(empty_database_url) as proxy:
        yield proxy


def send(client: httpx.Client, key: str, path: str = "/events") -> httpx.Response:
    body: Any = event() if path == "/events" else [event()]
    return client.post(path, json=body, headers=auth(key))


def test_a_service_that_starts_while_the_database_is_away_takes_events_by_the_keys_it_knew(
    proxy: Proxy, tmp_path: Path
) -> None:
    keys = make_keys(proxy.url)
    service = ServiceProcess(proxy.url, tmp_path / "log", **QUICK)
    with service.running():
        assert httpx.get(f"{service.base_url}/events", headers=auth(keys["read 2"])).is_success
        eventually(lambda: list((tmp_path / "spool").glob("keys-*.json")) != [], 30)
        assert service.terminate() == 0
    proxy.refuse()
    with service.running(), httpx.Client(base_url=service.base_url, timeout=20) as client:
        for path in ("/events", "/events/batch"):
            assert send(client, keys["write 2"], path).status_code == 202
            assert_problem(send(client, keys["read 2"], path), 403)
            assert_problem(send(client, "x", path), 401)
            # It may be one that is newer than what is known.
            answer = send(client, UNKNOWN, path)
            assert assert_problem(answer, 503)["type"].endswith("keys-unknown")
            assert int(answer.headers["retry-after"]) > 0
        assert client.get("/health/ready").json()["status"] == "degraded"
        proxy.pass_on()
        wait_until_replayed(service.base_url)
        assert_problem(send(client, UNKNOWN), 401)
        eventually(lambda: _count(client, keys["read 2"]) == 2, 30)
        assert _count(client, keys["read 1"]) == 0


def _count(client: httpx.Client, key: str) -> int | None:
    found = client.get("/analytics/event-counts", headers=auth(key)).json()
    total: int | None = found.get("total_events")
    return total


def test_without_any_knowledge_of_keys_no_answer_is_final(proxy: Proxy) -> None:
    keys = make_keys(proxy.url)
    proxy.refuse()
    with asking_service(proxy.url, ingest_deadline_seconds=1) as client:
        assert_problem(send(client, keys["write 1"]), 503)
        assert_problem(client.post("/events", json=event()), 401)
        assert client.get("/health/live").status_code == 200
        proxy.pass_on()
        eventually(lambda: send(client, keys["write 1"]).status_code == 202, 30)


def test_keys_are_read_again_once_the_database_is_back(proxy: Proxy) -> None:
    keys = make_keys(proxy.url)
    with asking_service(proxy.url, ingest_deadline_seconds=1) as client:
        assert send(client, keys["write 1"]).status_code == 202
        proxy.refuse()
        eventually(lambda: send(client, UNKNOWN).status_code == 503, 30)
        assert send(client, keys["write 1"]).status_code == 202
        proxy.pass_on()
        with records(proxy.url) as known:
            known.revoke(id_of(keys["write 1"]))
        eventually(lambda: send(client, keys["write 1"]).status_code == 401, 30)


def test_what_is_cached_is_for_the_owner_s_eyes_and_holds_no_key(
    proxy: Proxy, tmp_path: Path
) -> None:
    keys = make_keys(proxy.url)
    with asking_service(proxy.url, spool_directory=tmp_path) as client:
        assert client.get("/health/live").is_success
        (file,) = tmp_path.glob("keys-*.json")
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text()
    assert len(json.loads(text)) == len(keys)
    for key in keys.values():
        assert id_of(key) in text
        assert key[15:] not in text
    assert not list(tmp_path.glob(".keys-*"))


@pytest.mark.parametrize("content", [b"", b"{", b"[[1]]", b"\xff", b"[]"])
def test_a_cache_that_is_damaged_is_none(proxy: Proxy, tmp_path: Path, content: bytes) -> None:
    keys = make_keys(proxy.url)
    with asking_service(proxy.url, spool_directory=tmp_path):
        (file,) = tmp_path.glob("keys-*.json")
    file.write_bytes(content)
    proxy.refuse()
    with asking_service(proxy.url, spool_directory=tmp_path, ingest_deadline_seconds=1) as client:
        assert_problem(send(client, keys["write 1"]), 503)


def test_another_database_s_keys_are_not_taken(proxy: Proxy, tmp_path: Path) -> None:
    keys = make_keys(proxy.url)
    with asking_service(proxy.url, spool_directory=tmp_path):
        assert len(list(tmp_path.glob("keys-*.json"))) == 1
    elsewhere = "postgresql://postgres@127.0.0.1:1/other"
    with asking_service(elsewhere, spool_directory=tmp_path, ingest_deadline_seconds=1) as client:
        assert_problem(send(client, keys["write 1"]), 503)
