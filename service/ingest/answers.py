"""What the senders of events are answered."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import uuid_utils
from pydantic_core import to_json

from service.events import MICROSECONDS, Event, InvalidEventError
from service.ingest.batches import Parsed
from service.ingest.waiting import Kept
from service.problems import NOTHING_STORED, FieldError, Problem, ProblemKind


def accepted(event: Event) -> bytes:
    """Return the answer to an event that is stored."""
    return b'{"event_id":"%s","timestamp":"%s"}' % (
        _id_of(event).encode(),
        iso_time(event.timestamp).encode(),
    )


def invalid_event(error: InvalidEventError) -> Problem:
    """Return the answer to what is no event."""
    return Problem(
        ProblemKind.INVALID_EVENT, "The event was not stored.", error.errors, more=_clock(error)
    )


def accepted_batch(parsed: Sequence[Parsed], kept: Kept) -> bytes:
    """Return the answer to a batch. Raises Problem where none of its events is stored.

    `kept` is what became of its events, each id once.
    """
    stored = [
        one.event_id
        for one in parsed
        if isinstance(one, Event) and one.event_id not in kept.refused
    ]
    rejected = list(_rejected(parsed, kept.refused))
    if not stored:
        raise Problem(ProblemKind.INVALID_BATCH, NOTHING_STORED, more={"rejected": rejected})
    duplicates = kept.duplicates + len(stored) - len(set(stored))
    return to_json(
        {"accepted": len(stored) - duplicates, "duplicates": duplicates, "rejected": rejected}
    )


def _rejected(parsed: Sequence[Parsed], refused: frozenset[bytes]) -> Iterator[dict[str, Any]]:
    for index, one in enumerate(parsed):
        if isinstance(one, InvalidEventError):
            yield {"index": index, "errors": one.errors, **_clock(one)}
        elif one.event_id in refused:
            errors = [FieldError(field="body", message=ProblemKind.REFUSED_EVENT.title)]
            yield {"index": index, "errors": errors}


def for_event(problem: Problem, event: Event) -> Problem:
    """Return the writer's problem as it is told to the sender of one event."""
    return _with_ids(problem, {"event_id": _id_of(event)})


def for_batch(problem: Problem, parsed: Sequence[Parsed]) -> Problem:
    """Return the writer's problem as it is told to the sender of a batch: ids at their indices."""
    ids = [_id_of(one) if isinstance(one, Event) else None for one in parsed]
    return _with_ids(problem, {"event_ids": ids})


def _with_ids(problem: Problem, ids: dict[str, Any]) -> Problem:
    # Without ids the writer says that nothing is stored.
    return replace(problem, more=ids) if "event_ids" in problem.more else problem


def _clock(error: InvalidEventError) -> dict[str, str]:
    return {} if error.clock is None else {"server_time": iso_time(error.clock * 1000)}


def _id_of(event: Event) -> str:
    return str(uuid_utils.UUID(bytes=event.event_id))


def iso_time(microseconds: int) -> str:
    """Return microseconds since 1970 as RFC 3339 in UTC, with milliseconds."""
    seconds, rest = divmod(microseconds, MICROSECONDS)
    return f"{_second(seconds)}.{rest // 1000:03}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    # What is answered is mostly of now: thousands of times the same.
    return datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix("+00:00")
