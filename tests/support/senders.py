"""Senders, which post events one request after the other, and note in a ledger what came of it."""

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from tests.support.ledger import Ledger

MILLISECOND_NS = 1_000_000
PAUSE_SECONDS = 0.1
"""After a reset or a refusal, before the next request."""
TIMEOUT_SECONDS = 30.0
IDLE_SECONDS = 2.0
"""After which a connection is not used again."""
AGAIN = 0.05
"""The part of events with ids of their own that are sent again though they were accepted."""


@dataclass(frozen=True)
class Answer:
    """When a request was answered, how long it took, and with what; status 0 is no answer."""

    at: float
    """Seconds of time.monotonic()."""
    seconds: float
    status: int
    events: int
    error: str = ""
    """Why there was no answer."""


@dataclass(frozen=True)
class Habit:
    """How one sender sends."""

    batch: int = 1
    """Events in a request; 1 is POST /events."""
    given_ids: bool = False
    """Whether each event has an id of its own: then a request is sent again until it is answered
    202, and now and then also after that."""


MIXED = (Habit(), Habit(given_ids=True), Habit(20), Habit(20, given_ids=True))


class Senders:
    """Send, each by one of the habits to one of the services, until they are told to stop.

    With a rate, which is in events a second, they send no more than that together.
    """

    def __init__(
        self,
        base_urls: str | Sequence[str],
        ledger: Ledger,
        *,
        count: int = 32,
        habits: Sequence[Habit] = MIXED,
        rate: float | None = None,
        keep_alive: bool = True,
    ) -> None:
        self._base_urls = [base_urls] if isinstance(base_urls, str) else list(base_urls)
        self._ledger = ledger
        self._count = count
        self._habits = habits
        self._seconds_an_event = count / rate if rate else 0.0
        # A connection must not be used again when the service is about to close it.
        self._kept_alive = count if keep_alive else 0
        self._stop = asyncio.Event()
        self.answers: list[Answer] = []

    async def __aenter__(self) -> "Senders":
        """Start to send."""
        limits = httpx.Limits(
            max_connections=self._count,
            max_keepalive_connections=self._kept_alive,
            keepalive_expiry=IDLE_SECONDS,
        )
        self._client = httpx.AsyncClient(timeout=TIMEOUT_SECONDS, limits=limits)
        self._tasks = [asyncio.create_task(self._send(number)) for number in range(self._count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let each sender have its last answer."""
        self._stop.set()
        await asyncio.gather(*self._tasks)
        await self._client.aclose()

    async def until_accepted(self, more: int, seconds: float = 30) -> float:
        """Return once so many more events have been answered 202; how many seconds it took."""
        started = time.monotonic()
        wanted = self._ledger.accepted + more
        async with asyncio.timeout(seconds):
            while self._ledger.accepted < wanted:  # noqa: ASYNC110 - polled, not announced
                await asyncio.sleep(0.005)
        return time.monotonic() - started

    def since(self, moment: float) -> list[Answer]:
        """Return the answers since a moment of time.monotonic()."""
        return [answer for answer in self.answers if answer.at >= moment]

    async def _send(self, number: int) -> None:
        base_url = self._base_urls[number // len(self._habits) % len(self._base_urls)]
        habit = self._habits[number % len(self._habits)]
        chance = random.Random(number)
        while not self._stop.is_set():
            began = time.monotonic()
            numbers = self._new_events(habit)
            body = self._ledger.request(numbers)
            again = True
            while again:
                status = await self._post(base_url, numbers, body)
                again = habit.given_ids and (
                    (status != 202 and not self._stop.is_set()) or chance.random() < AGAIN
                )
                if status != 202:
                    await self._wait(PAUSE_SECONDS)
            await self._wait(began + len(numbers) * self._seconds_an_event - time.monotonic())

    def _new_events(self, habit: Habit) -> list[int]:
        numbers = self._ledger.new_events(habit.batch)
        if habit.given_ids:
            self._ledger.give_ids(numbers, [time.time_ns() // MILLISECOND_NS] * len(numbers))
        return numbers

    async def _post(self, base_url: str, numbers: Sequence[int], body: bytes) -> int:
        """Send, note the answer, and return its status, 0 if there is none."""
        path = "/events" if len(numbers) == 1 else "/events/batch"
        started = time.monotonic()
        answer, error = None, ""
        try:
            answer = await self._client.post(
                base_url + path, content=body, headers={"Content-Type": "application/json"}
            )
        except httpx.TransportError as failed:
            error = repr(failed)
        self._ledger.note(numbers, answer, batch=len(numbers) > 1)
        status = 0 if answer is None else answer.status_code
        now = time.monotonic()
        self.answers.append(Answer(now, now - started, status, len(numbers), error))
        return status

    async def _wait(self, seconds: float) -> None:
        if seconds <= 0:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
