"""What the tests of faults share."""

import asyncio
import os
import time
from collections.abc import Sequence

import httpx

from tests.support.ledger import Comparison, Ledger
from tests.support.senders import Answer, Senders
from tests.support.services import ServiceProcess, wait_until_replayed

MIB = 1024 * 1024

FULL = os.environ.get("FAULTS") == "full"
"""Whether faults last as long as docs/durability.md says; else they are short."""

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
