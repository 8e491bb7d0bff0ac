"""Runs the service, in this process or in one of its own."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import httpx
import uvicorn
from starlette.types import ASGIApp

from service.app import create_app
from service.server import bind, configuration
from service.settings import Settings

ROOT = Path(__file__).parents[2]


@contextmanager
def running_service(**settings: object) -> Iterator[str]:
    """Yield the base URL of a service in a thread of this process, with real connections.

    It has a spool of its own, unless told where: what another one left would be stored here.
    """
    with TemporaryDirectory() as spool:
        settings = {"spool_directory": spool} | settings
        with serving(create_app(Settings.model_validate(settings)), **settings) as base_url:
            yield base_url


@contextmanager
def service_client(*, timeout: float = 20, **settings: object) -> Iterator[httpx.Client]:
    """Yield a client of a running_service()."""
    with (
        running_service(**settings) as base_url,
        httpx.Client(base_url=base_url, timeout=timeout) as client,
    ):
        yield client


@contextmanager
def serving(app: ASGIApp, **settings: object) -> Iterator[str]:
    """Yield the base URL of an application in a thread of this process."""
    listener = bind("127.0.0.1", 0)
    settings = {"database_url": "postgresql://127.0.0.1/none", "shutdown_seconds": 10} | settings
    server = uvicorn.Server(configuration(app, Settings.model_validate(settings)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        _wait(lambda: server.started, thread.is_alive)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


def wait_until_replayed(base_url: str, seconds: float = 300) -> None:
    """Return once the database is there, and nothing is left in the service's spool."""

    def is_replayed() -> bool:
        try:
            answer = httpx.get(f"{base_url}/health/ready", timeout=5).json()
        except httpx.TransportError:
            return False
        return (answer["status"], answer.get("spool_bytes")) == ("ready", 0)

    _wait(is_replayed, lambda: True, seconds)


class ServiceProcess:
    """`python -m service serve` as a process of its own, on a port that stays the same."""

    command: tuple[str, ...] = ("-m", "service", "serve")

    def __init__(self, database_url: str, log: Path, **environment: str) -> None:
        with bind("127.0.0.1", 0) as listener:
            self.port = listener.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}"
        self._log = log
        self.environment = os.environ | {
            "DATABASE_URL": database_url,
            "PORT": str(self.port),
            "SPOOL_DIRECTORY": str(log.with_name("spool")),
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        with self._log.open("ab") as log:
            self.process = process = subprocess.Popen(
                [sys.executable, *self.command],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        _wait(self.answers, lambda: process.poll() is None)

    def answers(self) -> bool:
        """Return whether it is live."""
        try:
            return httpx.get(f"{self.base_url}/health/live", timeout=1).is_success
        except httpx.TransportError:
            return False

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Have it started; kill it at the end."""
        self.start()
        try:
            yield self
        finally:
            self.kill()

    def kill_and_restart(self) -> None:
        """Kill it and start it again on the same port."""
        self.kill()
        self.start()

    @property
    def memory_bytes(self) -> int:
        """How much memory it holds. Raises subprocess.CalledProcessError if it does not run."""
        assert self.process is not None
        command = ["ps", "-o", "rss=", "-p", str(self.process.pid)]
        return int(subprocess.run(command, capture_output=True, check=True).stdout) * 1024

    def kill(self) -> None:
        """Kill it, as kill -9 does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds: float = 20) -> int:
        """Send SIGTERM and return its exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(seconds)


def _wait(until: Callable[[], bool], alive: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert alive(), "it ended before it answered"
        assert time.monotonic() < deadline, f"no answer within {seconds} s"
        time.sleep(0.02)
