"""Weeks of their own for each example of a property."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

from hypothesis import HealthCheck, settings
from psycopg import Connection

from tests.counting.counts import LEVELS, refresh
from tests.counting.steps import DAY, Window

bounded = settings(
    deadline=None,
    max_examples=int(os.environ.get("COUNTING_EXAMPLES", "30")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# Each example has weeks of its own, later than any before, in which nothing was refreshed yet; they
# hold the days on which Europe's and Australia's clocks change.
_years = count(2030)


def fresh_weeks(connection: Connection, levels: Sequence[str] = LEVELS) -> datetime:
    """Empty the tables and these levels, and return the first day of the next weeks."""
    connection.execute("set timezone = 'UTC'")
    connection.execute("truncate events")
    for level in levels:
        connection.execute(f"delete from {level}".encode())
    first_day = datetime(next(_years), 3, 20, tzinfo=UTC)
    for level in levels:
        refresh(connection, level, None, first_day - 30 * DAY)
    return first_day


def ends(
    asked: Window | tuple[timedelta | str, timedelta | str], first_day: datetime
) -> tuple[object, object]:
    """Return the instants that are meant, where the first day is this."""
    start, end = (asked.start, asked.end) if isinstance(asked, Window) else asked
    return tuple(
        first_day + bound if isinstance(bound, timedelta) else bound for bound in (start, end)
    )  # type: ignore[return-value]
