"""What the tests of faults share."""

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.ledger import Comparison, Ledger
from tests.support.proxy import Proxy
from tests.support.senders import Answer, Senders
from tests.support.services import ServiceProcess, wait_until_replayed

MIB = 1024 * 1024

FULL = os.environ.get("FAULTS") == "full"
"""Whether faults last as long as they were planned to; else they are short, as for CI."""

PATIENCE = 3
"""How many times a promised deadline a test waits: the machine may be busy."""
ANSWER_SECONDS = 5.0
"""INGEST_DEADLINE_SECONDS, unless it is set."""
RECOVERY_SECONDS = 3.0
"""From the end of a fault to the next 202."""


def lasting(short: float, full: float) -> float:
    """Return how many seconds a fault lasts."""
    return full if FULL else short


def assert_kept(what: str, ledger: Ledger, database_url: str) -> Comparison:
    """Print what a ledger and the table say together, and check the promise."""
    comparison = ledger.compare(database_url)
    print(f"{what}: {comparison}")
    assert comparison.promise_holds, f"{what}: {comparison}"
    return comparison


class Trial:
    """A service, and the ledger of what it is sent."""

    comparison: Comparison
    """At the end."""

    def __init__(self, service: ServiceProcess) -> None:
        self.service = service
        self.ledger = Ledger()

    def senders(self, **options: Any) -> Senders:
        """Return senders of events to the service."""
        return Senders(self.service.base_url, self.ledger, **options)


@contextmanager
def kept_promise(
    what: str, database_url: str, folder: Path, *, proxy: Proxy | None = None, **environment: str
) -> Iterator[Trial]:
    """Yield a running service, its log in a folder; at the end check the promise.

    Unless it has ended by itself, it is let store what is in its spool before that.
    """
    url = database_url if proxy is None else proxy.url
    trial = Trial(ServiceProcess(url, folder / "service.log", **environment))
    with trial.service.running():
        yield trial
        if trial.service.process is not None and trial.service.process.poll() is None:
            settle(trial.service)
    trial.comparison = assert_kept(what, trial.ledger, database_url)


def post(client: httpx.Client, ledger: Ledger, numbers: Sequence[int]) -> httpx.Response:
    """Send events in one request, note the answer and return it."""
    path = "/events" if len(numbers) == 1 else "/events/batch"
    headers = {"Content-Type": "application/json"}
    answer = client.post(path, content=ledger.request(numbers), headers=headers)
    ledger.note(numbers, answer, batch=len(numbers) > 1)
    return answer


def settle(service: ServiceProcess) -> None:
    """Let a service store what is in its spool, and end."""
    wait_until_replayed(service.base_url)
    assert service.terminate() == 0


def slowest(answers: Sequence[Answer]) -> float:
    """Return how many seconds the slowest answer took."""
    return max(answer.seconds for answer in answers)


def statuses(answers: Sequence[Answer]) -> set[int]:
    """Return the different statuses; 0 is no answer."""
    return {answer.status for answer in answers}


async def watch(senders: Senders, seconds: float) -> list[Answer]:
    """Let senders send for so long; return the answers that came in that time."""
    started = time.monotonic()
    await asyncio.sleep(seconds)
    return senders.since(started)


async def assert_recovers(senders: Senders) -> None:
    """Check that events are accepted again soon."""
    took = await senders.until_accepted(50, RECOVERY_SECONDS * PATIENCE)
    print(f"accepted again after {took:.2f} s")
