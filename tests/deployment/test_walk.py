"""What the README and docs/deployment.md tell a new user to do, from nothing to the first count."""

from pathlib import Path

import httpx

from tests.access.support import auth, done
from tests.embedded.conftest import eventually
from tests.support.services import ServiceProcess

EVENT = {"user_id": "ann", "event_type": "view", "payload": {"url": "https://shop.example/"}}


def test_from_an_empty_database_to_a_site_that_is_counted(
    empty_database_url: str, tmp_path: Path
) -> None:
    database_url = empty_database_url
    assert "applied 0001" in done(database_url, "migrate")
    assert done(database_url, "sites", "create", "shop") == "Site 2: shop"
    write = done(database_url, "keys", "create", "write", "--site", "shop")
    read = done(database_url, "keys", "create", "read", "--site", "all")
    service = ServiceProcess(database_url, tmp_path / "log", HOST="0.0.0.0", KEYS_REQUIRED="true")
    with service.running(), httpx.Client(base_url=service.base_url, timeout=20) as client:
        assert client.post("/events", json=EVENT).status_code == 401
        assert client.post("/events", json=EVENT, headers=auth(write)).status_code == 202
        # The script of the page that embeds it sends the key that is in its address.
        script = client.get("/tallymark.js", params={"key": write}).text
        assert f"events/batch?key={write}" in script
        batch = client.post("/events/batch", params={"key": write}, json=[EVENT, EVENT])
        assert batch.json()["accepted"] == 2
        log_in(client, read)
        counts = client.get("/analytics/event-counts-by-type", params={"site": 2})
        assert counts.json() == {"view": 3}
        assert client.get("/analytics/event-counts").json() == {"total_events": 0}
        eventually(lambda: "tallymark_events_stored_total 3.0" in metrics(client, read), 10)
    assert write not in (tmp_path / "log").read_text()


def log_in(client: httpx.Client, key: str) -> None:
    """Go to the dashboard as a browser does, which is led to the login first."""
    door = client.get("/", follow_redirects=True)
    assert door.url.path == "/login"
    answer = client.post("/login", data={"key": key, "next": door.url.params["next"]})
    assert answer.status_code == 303
    page = client.get(answer.headers["location"])
    assert page.status_code == 200
    assert "<title>" in page.text


def metrics(client: httpx.Client, key: str) -> str:
    """Return what Prometheus reads with its key."""
    return client.get("/metrics", headers=auth(key)).text
