"""The ledger of what was sent and answered, to be compared with what the database holds."""

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any
from uuid import UUID

import httpx
import psycopg

from service.events import new_event_id

MILLISECOND = timedelta(milliseconds=1)

STORED = """
select (payload ->> 'number')::bigint, event_id, timestamp, user_id, event_type::text, payload
from events
"""
FETCHED_ROWS = 10_000
COUNTED = "select coalesce(sum(event_count), 0)::bigint from event_counts()"


class Fate(IntEnum):
    """What the answers say of an event; of several answers the highest counts."""

    SENT = 0
    """Nothing yet."""
    REFUSED = 1
    """It is not stored: a 4xx, or a 503 that names no id."""
    UNKNOWN = 2
    """No answer, or a 503 that names its id."""
    ACCEPTED = 3
    """202."""


class Ledger:
    """Each event has a number, which says all of its content but the id."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self.fates: dict[int, Fate] = {}
        self.ids: dict[int, UUID] = {}
        """Those that were given, or answered."""
        self.accepted = 0
        self.duplicates = 0
        self.defects: list[str] = []
        """Answers that must not be."""

    def new_events(self, count: int) -> list[int]:
        """Return the numbers of events that are about to be sent; a single one is valid."""
        source = filter(is_valid, self._numbers) if count == 1 else self._numbers
        numbers = list(itertools.islice(source, count))
        self.fates.update(dict.fromkeys(numbers, Fate.SENT))
        return numbers

    def give_ids(self, numbers: Sequence[int], milliseconds: Sequence[int]) -> None:
        """Give events ids of these milliseconds since 1970."""
        for number, at in zip(numbers, milliseconds, strict=True):
            self.ids[number] = UUID(bytes=new_event_id(at))

    def request(self, numbers: Sequence[int]) -> bytes:
        """Return the body of a request, with the ids that are known: one event, or an array."""
        events = [
            event_of(number) | ({"event_id": str(self.ids[number])} if number in self.ids else {})
            for number in numbers
        ]
        return json.dumps(events[0] if len(events) == 1 else events).encode()

    def note(self, numbers: Sequence[int], answer: httpx.Response | None, *, batch: bool) -> None:
        """Note the answer to a request that held these events; None if none came."""
        if answer is None:
            self._note_fate(numbers, Fate.UNKNOWN)
            return
        if answer.status_code == 503 and "Retry-After" not in answer.headers:
            self.defects.append(f"503 without Retry-After: {answer.text}")
        body = answer.json()
        if answer.status_code == 202:
            (self._note_batch if batch else self._note_event)(numbers, body)
        elif answer.status_code == 503:
            self._note_not_confirmed(numbers, body.get("event_ids") or [body.get("event_id")])
        else:
            self._note_fate(numbers, Fate.REFUSED)
            self.defects.append(f"{answer.status_code}: {answer.text}")

    def _note_event(self, numbers: Sequence[int], body: dict[str, Any]) -> None:
        event_id = UUID(body["event_id"])
        if self.ids.setdefault(numbers[0], event_id) != event_id:
            self.defects.append(f"{self.ids[numbers[0]]} was answered as {event_id}")
        if datetime.fromisoformat(body["timestamp"]) != moment_of(event_id):
            self.defects.append(f"the answer's timestamp is not its id's: {body}")
        self._note_fate(numbers, Fate.ACCEPTED)

    def _note_batch(self, numbers: Sequence[int], body: dict[str, Any]) -> None:
        rejected = {one["index"] for one in body["rejected"]}
        if body["accepted"] + body["duplicates"] + len(rejected) != len(numbers):
            self.defects.append(f"of {len(numbers)} events: {body}")
        self.duplicates += body["duplicates"]
        for index, number in enumerate(numbers):
            valid = is_valid(number)
            if (index in rejected) == valid:
                self.defects.append(f"{event_of(number)} was taken for valid: {not valid}")
            self._note_fate([number], Fate.REFUSED if index in rejected else Fate.ACCEPTED)

    def _note_not_confirmed(self, numbers: Sequence[int], ids: Sequence[str | None]) -> None:
        if ids == [None]:
            self._note_fate(numbers, Fate.REFUSED)
            return
        for number, event_id in zip(numbers, ids, strict=True):
            # What has no id among others that have was no event.
            self._note_fate([number], Fate.REFUSED if event_id is None else Fate.UNKNOWN)
            if event_id is not None:
                self.ids.setdefault(number, UUID(event_id))

    def _note_fate(self, numbers: Sequence[int], fate: Fate) -> None:
        for number in numbers:
            before = self.fates[number]
            self.accepted += before < fate is Fate.ACCEPTED
            self.fates[number] = max(before, fate)

    def compare(self, database_url: str) -> "Comparison":
        """Compare with the table, by content, over a connection of its own."""
        stored: Counter[int] = Counter()
        strange = changed = 0
        with psycopg.connect(database_url, autocommit=True) as connection:
            # By a cursor: the embedded server has no room for a result of a million rows.
            with connection.transaction(), connection.cursor("stored") as cursor:
                cursor.itersize = FETCHED_ROWS
                for number, *content in cursor.execute(STORED):
                    stored[number] += 1
                    strange += number not in self.fates
                    changed += number in self.fates and not self._is_content(number, content)
            counted = connection.execute(COUNTED).fetchone()
        fates = Counter(self.fates.values())
        return Comparison(
            sent=len(self.fates),
            accepted=fates[Fate.ACCEPTED],
            unknown=fates[Fate.UNKNOWN] + fates[Fate.SENT],
            refused=fates[Fate.REFUSED],
            stored=stored.total(),
            lost=sum(not stored[one] for one, at in self.fates.items() if at is Fate.ACCEPTED),
            doubled=stored.total() - len(stored),
            though_refused=sum(stored[one] for one, at in self.fates.items() if at is Fate.REFUSED),
            changed=changed,
            strange=strange,
            miscounted=abs(stored.total() - (counted or (0,))[0]),
            defects=tuple(self.defects),
        )

    def _is_content(self, number: int, content: Sequence[Any]) -> bool:
        event_id, timestamp, *rest = content
        event = event_of(number)
        return (
            self.ids.get(number, event_id) == event_id
            and timestamp == moment_of(event_id)
            and rest == [event["user_id"], event["event_type"], event["payload"]]
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
    though_refused: int
    """Stored though every answer said that they are not."""
    changed: int
    """With another content, id or time than was sent or answered."""
    strange: int
    """Stored though never sent."""
    miscounted: int
    """By how many event_counts() differs from the table."""
    defects: tuple[str, ...]

    @property
    def promise_holds(self) -> bool:
        """Whether nothing answered 202 is lost, nothing doubled, and no answer was wrong."""
        return not any(
            (
                self.lost,
                self.doubled,
                self.though_refused,
                self.changed,
                self.strange,
                self.miscounted,
                self.defects,
            )
        )

    def __str__(self) -> str:
        """Return a line of a table."""
        return (
            f"sent {self.sent:,}, 202 {self.accepted:,}, refused {self.refused:,}, "
            f"unknown {self.unknown:,}, stored {self.stored:,}, lost {self.lost:,}, "
            f"doubled {self.doubled:,}, stored though refused {self.though_refused:,}, "
            f"changed {self.changed + self.strange:,}, miscounted {self.miscounted:,}, "
            f"wrong answers {len(self.defects):,} {list(self.defects[:3]) or ''}"
        )


def event_of(number: int) -> dict[str, Any]:
    """Return the event of a number; no other has its content. Some are not valid."""
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("view", {"url": f"https://example.com/{number}?q=\u00e4\U0001f600", "title": None}),
        ("click", {"element_id": f"button-{number}", "text": 'a "quoted"\\ \ttext\n'}),
        ("location", {"latitude": number % 90 + 0.1, "longitude": -(number % 180) / 7}),
    ]
    event_type, payload = kinds[number % 3]
    event = {"user_id": f"user-{number % 101}", "event_type": event_type}
    return event | {"payload": payload | {"number": number}} | ({} if is_valid(number) else WRONG)


WRONG = {"event_type": "purchase"}


def is_valid(number: int) -> bool:
    """Return whether the event of a number is to be stored."""
    return number % 97 != 96


def moment_of(event_id: UUID) -> datetime:
    """Return the moment that a UUIDv7 holds."""
    return datetime.fromtimestamp(0, UTC) + (event_id.int >> 80) * MILLISECOND
