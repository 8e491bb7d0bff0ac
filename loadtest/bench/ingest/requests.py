"""The requests that are sent, in a file for the generator, and what has to be stored of them."""

import gzip
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from loadtest.users.traffic import bodies
from service.events import LATE_WINDOW_MILLISECONDS, new_event_id

PLAIN_EVENTS = 20_000
"""So many events are sent again and again, where none has an id of its own."""
MINUTE_MILLISECONDS = 60_000
LATEST_MILLISECONDS = LATE_WINDOW_MILLISECONDS - 60 * MINUTE_MILLISECONDS
RESENT_AMONG = 1000
"""An event that is sent again is one of so many that were sent before it."""


class Rates(NamedTuple):
    """Which shares of the events are not as most are."""

    late: float = 0.0
    """Minutes to days old."""
    resend: float = 0.0
    invalid: float = 0.0

    @property
    def give_ids(self) -> bool:
        """Whether some events have ids of their own, so that sending them twice differs."""
        return self.late + self.resend > 0


class Sent(NamedTuple):
    """One event."""

    body: bytes
    event_id: bytes | None = None
    is_valid: bool = True


@dataclass(frozen=True)
class Request:
    """As it goes over the wire, and the events it holds."""

    wire: bytes
    given: tuple[bytes, ...]
    """Ids of its valid events that have one of their own."""
    fresh: int
    """How many valid events have none."""

    @property
    def is_refused(self) -> bool:
        """Whether the answer is an error: there is no valid event in it."""
        return not self.given and not self.fresh


def make_requests(batch: int, *, zipped: bool, rates: Rates, events: int) -> list[Request]:
    """Return requests of `batch` events each, at least four, with about `events` in all."""
    sent = _events(rates)
    return [
        _request(list(islice(sent, batch)), zipped=zipped) for _ in range(max(4, events // batch))
    ]


def write_file(requests: Sequence[Request], path: Path) -> None:
    """Write what a generator sends, each request after a line with its length."""
    path.write_bytes(b"".join(b"%d\n%s" % (len(one.wire), one.wire) for one in requests))


def rows_of(requests: Sequence[Request], sent: int) -> int:
    """Return how many rows so many requests make that are sent in turn, over and over."""
    rounds, rest = divmod(sent, len(requests))
    fresh = rounds * sum(one.fresh for one in requests) + sum(one.fresh for one in requests[:rest])
    return fresh + len({event_id for one in requests[:sent] for event_id in one.given})


def valid_events_of(requests: Sequence[Request], sent: int) -> int:
    """Return how many valid events are in them, those that are sent again among them."""
    return _sum([one.fresh + len(one.given) for one in requests], sent)


def refused_of(requests: Sequence[Request], sent: int) -> int:
    """Return how many of them are answered by an error, as they should."""
    return _sum([one.is_refused for one in requests], sent)


def _sum(values: Sequence[int], count: int) -> int:
    rounds, rest = divmod(count, len(values))
    return rounds * sum(values) + sum(values[:rest])


def _events(rates: Rates) -> Iterator[Sent]:
    # As many as are resent were given an id when they were sent first.
    likely = (rates.late, rates.resend, rates.resend, rates.invalid)
    kinds = random.choices(
        (_late, _given, _again, _invalid, _plain), (*likely, 1 - sum(likely)), k=100_000
    )
    originals: list[Sent] = []
    while True:
        for kind in kinds:
            event = kind(random.choice(bodies()).body, originals)
            if kind is _given:
                originals = [*originals[1 - RESENT_AMONG :], event]
            yield event


def _plain(body: bytes, _: Sequence[Sent]) -> Sent:
    return Sent(body)


def _invalid(body: bytes, _: Sequence[Sent]) -> Sent:
    return Sent(body.replace(b'"user_id":', b'"user":', 1), is_valid=False)


def _given(body: bytes, _: Sequence[Sent], age_milliseconds: float = 0) -> Sent:
    event_id = new_event_id(int(time.time() * 1000 - age_milliseconds))
    text = str(UUID(bytes=event_id)).encode()
    return Sent(b'%s,"event_id":"%s"}' % (body[:-1], text), event_id)


def _late(body: bytes, originals: Sequence[Sent]) -> Sent:
    age = math.exp(random.uniform(math.log(MINUTE_MILLISECONDS), math.log(LATEST_MILLISECONDS)))
    return _given(body, originals, age)


def _again(body: bytes, originals: Sequence[Sent]) -> Sent:
    return random.choice(originals) if originals else _plain(body, originals)


def _request(events: Sequence[Sent], *, zipped: bool) -> Request:
    single = len(events) == 1
    body = events[0].body if single else b"[%s]" % b",".join(event.body for event in events)
    if zipped:
        body = gzip.compress(body, 6)
    head = (
        f"POST {'/events' if single else '/events/batch'} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        *(["Content-Encoding: gzip"] if zipped else []),
        f"Content-Length: {len(body)}",
        "\r\n",
    )
    valid = [event for event in events if event.is_valid]
    given = tuple(event.event_id for event in valid if event.event_id is not None)
    return Request("\r\n".join(head).encode() + body, given, len(valid) - len(given))
