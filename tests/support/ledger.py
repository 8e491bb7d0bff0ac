"""Senders, and the ledger of what they sent and were answered, to be compared with the table."""

import asyncio
import contextlib
import itertools
import json
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import httpx
import psycopg

PAUSE_SECONDS = 0.1
"""After a reset or a refusal, before the next event."""


@dataclass
class Ledger:
    """Each event has content of its own, and is sent once."""

    sent: dict[str, str | None] = field(default_factory=dict)
    """By the event's URL: the event_id of its 202, or of a 503 that could not say; else None."""
    accepted: dict[str, tuple[UUID, datetime, str]] = field(default_factory=dict)
    """By the URL of what was answered 202: the answer's event_id and timestamp, and the user_id."""
    unknown: set[str] = field(default_factory=set)
    """Those that got no answer, or a 503 that bears the event_id."""
    refused: set[str] = field(default_factory=set)
    """Those that were answered that they are not stored."""
    failed: list[str] = field(default_factory=list)
    """Answers that must not be: those of a defect."""

    def note(self, url: str, user_id: str, answer: httpx.Response) -> None:
        """Note an answer."""
        body = answer.json()
        self.sent[url] = body.get("event_id")
        if answer.status_code == 202:
            timestamp = datetime.fromisoformat(body["timestamp"])
            self.accepted[url] = UUID(body["event_id"]), timestamp, user_id
        elif answer.status_code == 503:
            (self.unknown if "event_id" in body else self.refused).add(url)
        else:
            self.failed.append(f"{answer.status_code}: {answer.text}")

    def compare(self, database_url: str) -> "Comparison":
        """Compare with the table, by content, over a connection of its own."""
        with psycopg.connect(database_url, autocommit=True) as connection:
            rows = connection.execute(
                "select payload ->> 'url', event_id, timestamp, user_id from events"
            ).fetchall()
        stored = [url for url, *_ in rows if url in self.sent]
        contents = {url: content for url, *content in rows}
        return Comparison(
            sent=len(self.sent),
            accepted=len(self.accepted),
            unknown=len(self.unknown),
            refused=len(self.refused),
            stored=len(stored),
            lost=len(self.accepted.keys() - set(stored)),
            doubled=len(stored) - len(set(stored)),
            stored_though_refused=len(self.refused & set(stored)),
            changed=sum(
                1
                for url, content in self.accepted.items()
                if url in contents and list(content) != contents[url]
            ),
            defects=len(self.failed),
        )


@dataclass(frozen=True)
class Comparison:
    """What a ledger and a table say together."""

    sent: int
    accepted: int
    unknown: int
    refused: int
    stored: int
    lost: int
    doubled: int
    stored_though_refused: int
    changed: int
    defects: int

    @property
    def promise_holds(self) -> bool:
        """Whether nothing answered 202 is lost, nothing doubled, and no answer was wrong."""
        wrong = (
            self.lost,
            self.doubled,
            self.stored_though_refused,
            self.changed,
            self.defects,
        )
        return not any(wrong)


class Senders:
    """Senders that post one event after the other until they are told to stop."""

    def __init__(
        self, base_url: str, ledger: Ledger, *, count: int = 32, name: str = "sender"
    ) -> None:
        self._base_url = base_url
        self._ledger = ledger
        self._count = count
        self._name = name
        self._stop = asyncio.Event()
        self._numbers = itertools.count(len(ledger.sent))

    async def __aenter__(self) -> "Senders":
        """Start to send."""
        self._client = httpx.AsyncClient(
            base_url=self._base_url,
            timeout=30,
            limits=httpx.Limits(max_connections=self._count, max_keepalive_connections=self._count),
        )
        self._tasks = [
            asyncio.create_task(self._send(f"{self._name}-{number}"))
            for number in range(self._count)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let each sender have its last answer."""
        self._stop.set()
        await asyncio.gather(*self._tasks)
        await self._client.aclose()

    async def until_accepted(self, more: int, seconds: float = 30) -> None:
        """Return once so many more events have been answered 202."""
        wanted = len(self._ledger.accepted) + more
        async with asyncio.timeout(seconds):
            while len(self._ledger.accepted) < wanted:  # noqa: ASYNC110 - polled, not announced
                await asyncio.sleep(0.005)

    async def _send(self, user_id: str) -> None:
        while not self._stop.is_set():
            url = f"/{self._name}/{next(self._numbers)}"
            self._ledger.sent[url] = None
            event = {"user_id": user_id, "event_type": "view", "payload": {"url": url}}
            try:
                answer = await self._client.post(
                    "/events",
                    content=json.dumps(event),
                    headers={"Content-Type": "application/json"},
                )
            except httpx.TransportError:
                self._ledger.unknown.add(url)
            else:
                self._ledger.note(url, user_id, answer)
                if answer.is_success:
                    continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), PAUSE_SECONDS)
