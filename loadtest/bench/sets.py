"""The sets of events that are counted, each in a database of its own."""

from collections.abc import Sequence
from datetime import timedelta

from loadtest.bench.phases import EventSet
from loadtest.bench.ranges import DAY, OF_DAYS, OF_HOURS

SPREAD_DAYS = 22
THREE_YEARS_DAYS = 1097
SPREAD_WRITES_PER_SECOND = 100
DENSE_PER_SECOND = 1000


def spread(events: int, days: int = SPREAD_DAYS) -> EventSet:
    """Return events over some days, of which all but the last eight are columns."""
    return EventSet(
        f"{events:,} events over {days:,} days",
        events,
        days * DAY,
        OF_DAYS,
        SPREAD_WRITES_PER_SECOND,
    )


def dense(minutes: int, settle_seconds: float) -> EventSet:
    """Return a thousand events a second, before the first count and while counting."""
    return EventSet(
        f"{DENSE_PER_SECOND:,} events a second for {minutes} minutes",
        DENSE_PER_SECOND * 60 * minutes,
        timedelta(minutes=minutes),
        OF_HOURS,
        DENSE_PER_SECOND,
        settle_seconds,
    )


def chosen(
    sizes: Sequence[float],
    *,
    hundred_million: bool,
    three_years: bool,
    dense_minutes: int,
    settle_seconds: float,
) -> list[EventSet]:
    """Return the sets of a run; sizes are in millions."""
    events = sorted({round(size * 1_000_000) for size in sizes})
    sets = [spread(number) for number in events]
    if hundred_million:
        sets.append(spread(100_000_000))
    if three_years:
        sets.append(spread(max(events), THREE_YEARS_DAYS))
    if dense_minutes:
        sets.append(dense(dense_minutes, settle_seconds))
    return sets
