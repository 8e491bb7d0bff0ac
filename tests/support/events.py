"""Events for tests."""

import itertools
from datetime import UTC, datetime

from service.events import DEFAULT_SITE, MICROSECONDS, Event, EventType, new_event_id

_numbers = itertools.count(1)


def make_event(
    at: datetime | None = None,
    *,
    user_id: str = "user",
    event_type: EventType = "view",
    payload: bytes = b'{"url": "/"}',
    site_id: int = DEFAULT_SITE,
) -> Event:
    """Return an event of a moment, now if none is given, cut to the millisecond."""
    moment = at or datetime.now(UTC)
    milliseconds = round(moment.timestamp() * MICROSECONDS) // 1000
    return Event(
        milliseconds * 1000,
        new_event_id(milliseconds),
        site_id,
        user_id.encode(),
        event_type,
        payload,
    )


def numbered_event() -> Event:
    """Return an event of now whose payload no other has."""
    return make_event(payload=b'{"url": "/%d"}' % next(_numbers))
