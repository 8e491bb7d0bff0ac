"""Runs Locust as a user does, and services that break what it must notice."""

import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

ROOT = Path(__file__).parents[2]
RUN_SECONDS = 120


@dataclass(frozen=True)
class Finished:
    """A Locust that has ended."""

    exit_code: int
    said: str
    outcome: dict[str, Any]

    @property
    def accepted(self) -> Counter[str]:
        """The events that were answered 202, by type."""
        return Counter({line["event_type"]: line["accepted"] for line in self._lines})

    @property
    def moved(self) -> Counter[str]:
        """What the counts moved by."""
        return Counter({line["event_type"]: line["moved"] for line in self._lines})

    @property
    def unknown(self) -> int:
        """How many events had an unknown outcome."""
        return sum(line["unknown"] for line in self._lines)

    @property
    def _lines(self) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = self.outcome["conservation"]["lines"]
        return lines


class Locust:
    """Locust on everything that the smoke scenario has, for some seconds."""

    def __init__(self, host: str, folder: Path, *options: str, scenario: str = "smoke") -> None:
        self._outcome = folder / "outcome.json"
        config = f"loadtest/scenarios/{scenario}.conf"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "locust", "--config", config, "--headless"),
                *("--only-summary", "--run-time", "3s", "--host", host),
                *("--outcome-file", str(self._outcome), *options),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self) -> Finished:
        """Wait for its end."""
        try:
            said, _ = self.process.communicate(timeout=RUN_SECONDS)
        finally:
            self.process.kill()
        written = self._outcome.exists()
        outcome = json.loads(self._outcome.read_text()) if written else {}
        return Finished(self.process.returncode, said, outcome)


def load(host: str, folder: Path, *options: str) -> Finished:
    """Run Locust to its end."""
    return Locust(host, folder, *options).finish()


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


class Broken:
    """The service, but some requests are answered without it: with a status, and no more."""

    def __init__(self, app: ASGIApp, path: str, status: int, *, every: int) -> None:
        self._app = app
        self._path = path
        self._status = status
        self._every = every
        self._seen = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == self._path:
            self._seen += 1
            if self._seen % self._every == 0:
                while (await receive()).get("more_body"):
                    pass
                await send({"type": "http.response.start", "status": self._status, "headers": []})
                await send({"type": "http.response.body", "body": b"{}"})
                return
        await self._app(scope, receive, send)


class Lenient:
    """The service, but what it refuses with 400 it answers with another status."""

    def __init__(self, app: ASGIApp, status: int) -> None:
        self._app = app
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_lenient(message: Message) -> None:
            if message.get("status") == 400:
                message["status"] = self._status
            await send(message)

        await self._app(scope, receive, send_lenient)


class Forgetful:
    """The service, but it does not see which id a sender gave: what comes again is stored again."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_without_ids() -> Message:
            message = await receive()
            if message.get("body"):
                message["body"] = re.sub(rb'"event_id":"[^"]*",', b"", message["body"])
            return message

        await self._app(scope, receive_without_ids, send)
