"""Bodies of POST /events/batch, in all the forms that it takes."""

import gzip
import json
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from loadtest.checks.tally import Answer, Counts
from loadtest.users.traffic import SentEvent

FASTEST = 1


class Batch(NamedTuple):
    """A request's body and headers, and what is in it."""

    events: Counts
    body: bytes
    headers: dict[str, str]


def encode(events: Sequence[SentEvent], chance: Random) -> Batch:
    """Return events as an array or as lines, plain or gzipped."""
    bodies = [event.body for event in events]
    if chance.random() < 0.5:
        body, media_type = b"[%s]" % b",".join(bodies), "application/json"
    else:
        body, media_type = b"\n".join(bodies), "application/x-ndjson"
    headers = {"Content-Type": media_type}
    if chance.random() < 0.5:
        body = gzip.compress(body, FASTEST)
        headers["Content-Encoding"] = "gzip"
    return Batch(Counter(event.event_type for event in events), body, headers)


def what_is_wrong(batch: Batch, answer: Answer, *, again: bool = False) -> str | None:
    """Return why an answer is not the 202 that a batch of valid events must get; None if it is.

    `again`: all of it was answered 202 before.
    """
    if answer.unlike_202:
        return answer.unlike_202
    try:
        told = json.loads(answer.body or b"")
        accepted, duplicates = told["accepted"], told["duplicates"]
    except (ValueError, KeyError, TypeError):
        return f"answered {answer.body!r:.100}"
    if told["rejected"] or accepted + duplicates != batch.events.total():
        return f"of {batch.events.total()} valid events answered {answer.body!r:.100}"
    if again and accepted:
        return f"stored {accepted} events that had been stored before"
    return None
