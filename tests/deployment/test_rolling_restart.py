"""Two instances are restarted one after the other under load: nothing is lost, nothing doubled."""

import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from uuid import UUID

import httpx
import psycopg
import pytest

from service.events import new_event_id
from tests.deployment.caddy import caddy, needs_caddy
from tests.embedded.conftest import eventually
from tests.http.support import event
from tests.support.services import ServiceProcess

SENDERS = 6
PATIENCE_SECONDS = 60.0


class Sender:
    """Sends events one after the other, each until it is kept: as a proxy, or a page, does."""

    def __init__(
        self, base_urls: list[str], stop: threading.Event, trust: ssl.SSLContext | bool = True
    ) -> None:
        self._base_urls = base_urls
        self._stop = stop
        self._trust = trust
        self.kept: list[str] = []
        self.retried = 0

    def run(self) -> None:
        """Send until it is told to stop. Fails where an event is kept by nobody."""
        with httpx.Client(timeout=20, verify=self._trust) as client:
            while not self._stop.is_set():
                event_id = str(UUID(bytes=new_event_id(time.time_ns() // 1_000_000)))
                self._send(client, event_id)
                self.kept.append(event_id)

    def _send(self, client: httpx.Client, event_id: str) -> None:
        give_up = time.monotonic() + PATIENCE_SECONDS
        for attempt in count(len(self.kept)):
            base_url = self._base_urls[attempt % len(self._base_urls)]
            try:
                answer = client.post(f"{base_url}/events", json=event() | {"event_id": event_id})
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == 202:
                return
            # What goes on while an instance ends may be answered 502 by a proxy.
            assert answer is None or answer.status_code in {502, 503}, answer.text
            assert time.monotonic() < give_up, "nobody keeps it"
            self.retried += 1
            time.sleep(0.01)


pytestmark = [
    pytest.mark.fault,
    pytest.mark.native(reason="two instances write beside each other"),
]


@pytest.fixture
def instances(database_url: str, tmp_path: Path) -> Iterator[list[ServiceProcess]]:
    """Two that run, each with a spool of its own."""
    for name in "ab":
        (tmp_path / name).mkdir()
    first, second = (ServiceProcess(database_url, tmp_path / name / "log") for name in "ab")
    with first.running(), second.running():
        yield [first, second]


def test_a_rolling_restart_loses_nothing(
    instances: list[ServiceProcess], database_url: str
) -> None:
    stop = threading.Event()
    base_urls = [instance.base_url for instance in instances]
    senders = [Sender(base_urls, stop) for _ in range(SENDERS)]
    _restart_under_load([*instances, *instances], senders, stop)
    assert sum(sender.retried for sender in senders) > 0, "the other instance took over"
    _require_all(senders, database_url)


@needs_caddy
def test_nor_does_one_behind_the_proxy(
    instances: list[ServiceProcess], database_url: str, tmp_path: Path
) -> None:
    stop = threading.Event()
    with caddy(tmp_path, *(instance.base_url for instance in instances)) as proxy:
        senders = [Sender([proxy.base_url], stop, proxy.trust) for _ in range(SENDERS)]
        _restart_under_load(instances, senders, stop)
    _require_all(senders, database_url)


def _restart_under_load(
    instances: list[ServiceProcess], senders: list[Sender], stop: threading.Event
) -> None:
    with ThreadPoolExecutor(SENDERS) as pool:
        running = [pool.submit(sender.run) for sender in senders]
        try:
            for instance in instances:
                _wait_for_more(senders)
                assert instance.terminate(60) == 0
                _wait_for_more(senders)
                instance.start()
            _wait_for_more(senders)
        finally:
            stop.set()
        for sending in running:
            sending.result()


def _require_all(senders: list[Sender], database_url: str) -> None:
    kept = [UUID(event_id) for sender in senders for event_id in sender.kept]
    with psycopg.connect(database_url) as connection:
        stored = [one for (one,) in connection.execute("select event_id from events").fetchall()]
    print(f"{len(kept)} kept, {sum(sender.retried for sender in senders)} attempts in vain")
    assert set(kept) <= set(stored), "lost"
    assert len(set(stored)) == len(stored), "doubled"


def _wait_for_more(senders: list[Sender]) -> None:
    """Wait until each sender has got some events kept."""
    before = [len(sender.kept) for sender in senders]
    eventually(
        lambda: all(len(s.kept) >= b + 5 for s, b in zip(senders, before, strict=True)),
        PATIENCE_SECONDS,
    )
