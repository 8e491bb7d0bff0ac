"""A log that can't be written must not stop ingest."""

import subprocess
from pathlib import Path

import httpx
import pytest

from tests.support.services import ServiceProcess

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here"),
]


def test_a_full_disk_behind_the_log_stops_nothing(database_url: str) -> None:
    service = ServiceProcess(database_url, Path("/dev/full"))
    service.start()
    event = {"user_id": "u", "event_type": "view", "payload": {"url": "/"}}
    try:
        for _ in range(3):
            assert httpx.post(f"{service.base_url}/events", json=event).status_code == 202
        assert httpx.get(f"{service.base_url}/health/ready").status_code == 200
        assert service.terminate() == 0
    except subprocess.TimeoutExpired:
        service.kill()
        raise
    finally:
        service.kill()
