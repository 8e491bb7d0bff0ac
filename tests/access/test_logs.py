"""Canaries in keys, payloads, queries and headers: they are accepted, and none is in the logs."""

import secrets
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.access.records import records
from tests.access.support import auth
from tests.http.support import event
from tests.support.services import ServiceProcess


@pytest.fixture
def canaries() -> dict[str, str]:
    """Words that stand nowhere else."""
    names = ("payload", "user", "element", "header", "query", "field", "agent", "cookie")
    return {name: f"canary{secrets.token_hex(8)}" for name in names}


def test_no_key_and_nothing_of_anybody_s_data_is_logged(
    database_url: str, tmp_path: Path, canaries: dict[str, str]
) -> None:
    with records(database_url) as known:
        write, read = known.create_key("write", 1, ""), known.create_key("read", None, "")
    wrong = "tmr_" + secrets.token_hex(5) + "_" + secrets.token_hex(32)
    service = ServiceProcess(
        database_url,
        tmp_path / "log",
        KEYS_REQUIRED="true",
        LOG_LEVEL="debug",
        LOG_FORMAT="json",
        LOG_INGEST_REQUESTS="true",
    )
    headers = {"User-Agent": canaries["agent"], "X-Canary": canaries["header"]}
    user = canaries["user"]
    posted = event(user, url=f"/{canaries['payload']}")
    with service.running(), httpx.Client(base_url=service.base_url, headers=headers) as client:
        _accepted(client, write, posted)
        click = {"user_id": user, "event_type": "click", "payload": {"text": canaries["element"]}}
        answer = client.post("/events/batch", json=[click, {}], headers=auth(write))
        assert answer.status_code == 202
        found = client.get("/events", params={"user_id": user}, headers=auth(read)).json()
        assert canaries["payload"] in str(found)
        assert canaries["element"] in str(found)
        _refused(client, read, wrong, posted, canaries)
        login = client.post("/login", data={"key": read, "next": f"/dashboard/?{user}"})
        assert login.status_code == 303
        cookie = client.cookies["tallymark_login"]
        assert client.get("/events", params={"user_id": user}).status_code == 200
        assert service.terminate() == 0
    log = (tmp_path / "log").read_text()
    # The control: what the requests did is there.
    for path in ("/events", "/events/batch", "/login"):
        assert f'"path": "{path}"' in log
    assert log.count('"status": 202') >= 4
    assert log.count('"status": 401') >= 3
    for name, canary in canaries.items():
        assert canary not in log, name
    for key in (write, read, wrong):
        assert key not in log
        assert key[15:] not in log
    assert cookie not in log


def _accepted(client: httpx.Client, write: str, posted: dict[str, Any]) -> None:
    for answer in (
        client.post("/events", json=posted, headers=auth(write)),
        client.post(f"/events?key={write}", json=posted),
        client.post(f"/events/batch?key={write}", json=[posted]),
    ):
        assert answer.status_code == 202


def _refused(
    client: httpx.Client, read: str, wrong: str, posted: dict[str, Any], canaries: dict[str, str]
) -> None:
    """Send what is refused in each of the ways in which it can be."""
    assert client.get("/events", headers=auth(wrong)).status_code == 401
    assert client.post(f"/events?key={wrong}", json=posted).status_code == 401
    assert client.post(f"/events?key={read}", json=posted).status_code == 403
    assert client.post("/login", data={"key": wrong}).status_code == 401
    cookie = {"Cookie": f"tallymark_login={canaries['cookie']}"}
    assert client.get("/events", headers=cookie).status_code == 401
    query = {canaries["query"]: "1", "site": canaries["query"]}
    assert client.get("/events", params=query, headers=auth(read)).status_code == 400
    invalid = posted | {canaries["field"]: 1}
    assert client.post("/events/batch", json=[invalid], headers=auth(read)).status_code == 403
