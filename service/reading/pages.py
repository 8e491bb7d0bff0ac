"""Pages of events, newest first, and one event: windows of time, each read by one statement.

A statement plans every chunk of its range before it reads the first. So a page looks at the newest
day first, and further back, four times as far each time, only until it is full.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from service.database.connections import load_query
from service.reading.parameters import PageQuery
from service.reading.positions import FIRST, SINCE_1970, Instant, InstantDumper, Position

EVENTS_PAGE = load_query("events_page")

NEWEST = 24 * 3600 * 1_000_000
WIDENED = 4
WIDEST = 1024 * NEWEST
"""Of the windows, in microseconds; behind it comes all that is left."""

Window = tuple[int | None, int | None]
"""From an instant, included, to another, in microseconds since 2000. None is an open end."""

Row = tuple[str, int, UUID]
"""An event as JSON, and its position."""


class Page(NamedTuple):
    """Events as JSON, and the position of the last; None where no other page follows."""

    events: list[str]
    end: Position | None


async def read_page(connection: AsyncConnection, query: PageQuery) -> Page:
    """Return the page that a query asks for. Raises Problem, and what psycopg raises."""
    start, end = map(_microseconds, query.half_open())
    if query.cursor is not None:
        end = query.cursor.at + 1 if end is None else min(query.cursor.at + 1, end)
    found: list[Row] = []
    for window in windows(start, end, time.time_ns() // 1000 - SINCE_1970):
        # One more than asked for, to know whether another page follows.
        missing = query.limit + 1 - len(found)
        found += await _read(
            connection, window, query.filters(), limit=missing, before=query.cursor
        )
        if len(found) > query.limit:
            return Page(
                [event for event, _, _ in found[: query.limit]],
                Position(*found[query.limit - 1][1:]),
            )
    return Page([event for event, _, _ in found], None)


def windows(start: int | None, end: int | None, now: int) -> Iterator[Window]:
    """Yield the windows that make up a range, the newest first."""
    first, width = FIRST if start is None else start, NEWEST
    lower = (now if end is None else min(now, end)) - width
    while lower > first and width <= WIDEST:
        yield lower, end
        width *= WIDENED
        end, lower = lower, lower - width
    yield start, end


async def read_event(connection: AsyncConnection, event_id: UUID, site: int) -> str | None:
    """Return the event that has an id at a site, as JSON; None where there is none.

    It is looked for in the millisecond that the id holds only. Raises what psycopg raises.
    """
    if event_id.version != 7:
        return None
    at = (event_id.int >> 80) * 1000 - SINCE_1970
    filters = {"site": site, "user_id": None, "event_type": None}
    found = await _read(connection, (at, at + 1), filters, limit=1, event_id=event_id)
    return found[0][0] if found else None


async def _read(
    connection: AsyncConnection,
    window: Window,
    filters: dict[str, Any],
    *,
    limit: int,
    before: Position | None = None,
    event_id: UUID | None = None,
) -> list[Row]:
    connection.adapters.register_dumper(Instant, InstantDumper)
    at, before_id = before or (None, None)
    values = filters | {
        "window_start": _instant(window[0]),
        "window_end": _instant(window[1]),
        "before": _instant(at),
        "before_id": before_id,
        "event_id": event_id,
        "limit": limit,
    }
    # Prepared, it would come to be planned without its values, and so with every chunk.
    cursor = await connection.execute(EVENTS_PAGE, values, prepare=False)
    return await cursor.fetchall()


def _instant(microseconds: int | None) -> Instant | None:
    return None if microseconds is None else Instant(microseconds)


def _microseconds(at: datetime | None) -> int | None:
    return None if at is None else (at - datetime(2000, 1, 1, tzinfo=UTC)) // timedelta.resolution
