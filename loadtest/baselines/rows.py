"""An event as a row that drivers take, and as an answer."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from service.events import MICROSECONDS, Event
from service.ingest.answers import iso_time

INSERT = """
insert into events (timestamp, event_id, site_id, user_id, event_type, payload)
values (%s, %s, %s, %s, %s, %s)
on conflict do nothing
"""


def row_of(event: Event) -> tuple[Any, ...]:
    """Return what INSERT takes."""
    return (
        datetime.fromtimestamp(event.timestamp / MICROSECONDS, UTC),
        str(UUID(bytes=event.event_id)),
        event.site_id,
        event.user_id.decode(),
        event.event_type,
        event.payload.decode(),
    )


def answer_of(event: Event) -> dict[str, str]:
    """Return what its sender is answered."""
    return {
        "event_id": str(UUID(bytes=event.event_id)),
        "timestamp": iso_time(event.timestamp),
    }
