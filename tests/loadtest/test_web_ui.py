"""Locust's web UI: a run is started and stopped there, and its check is in the log it shows."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.server import bind
from tests.loadtest.support import Locust, wait_until


@pytest.fixture
def web_ui(host: str, tmp_path: Path) -> Iterator[httpx.Client]:
    """Locust, waiting in its web UI."""
    with bind("127.0.0.1", 0) as listener:
        port = str(listener.getsockname()[1])
    options = ("--headful", "--web-host", "127.0.0.1", "--web-port", port)
    locust = Locust(host, tmp_path, *options)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        wait_until(lambda: answers(client))
        yield client
    locust.process.terminate()
    locust.finish()


def answers(client: httpx.Client) -> bool:
    """Return whether the web UI is there."""
    try:
        return client.get("/").is_success
    except httpx.TransportError:
        return False


def lines(client: httpx.Client) -> list[str]:
    """Return Locust's log, as the web UI shows it."""
    found: list[str] = client.get("/logs").json()["master"]
    return found


def requests(client: httpx.Client) -> int:
    """Return how many requests there were."""
    stats = client.get("/stats/requests").json()["stats"]
    return sum(entry["num_requests"] for entry in stats if entry["name"] != "Aggregated")


def swarm(client: httpx.Client, **form: object) -> None:
    """Start a run, let it send something, and stop it."""
    answer = client.post("/swarm", data={"user_count": 8, "spawn_rate": 8, **form})
    assert answer.json()["success"], answer.text
    wait_until(lambda: requests(client) > 20)
    assert client.post("/stop").json()["success"]


def test_runs_are_checked(web_ui: httpx.Client) -> None:
    assert "Locust" in web_ui.get("/").text
    swarm(web_ui)
    wait_until(lambda: any("PASSED: the counts moved" in line for line in lines(web_ui)))
    assert not any("FAILED" in line for line in lines(web_ui))

    # The next run is judged by itself, and by the limits that were given in the form.
    swarm(web_ui, max_p50_ms="0.001")
    wait_until(lambda: any("FAILED: POST /events: p50 was" in line for line in lines(web_ui)))
    assert not any("conservation" in line for line in lines(web_ui))
