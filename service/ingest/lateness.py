"""Commits events that lie apart in time apart from each other.

TimescaleDB records what a transaction changed as one range of time, from its earliest row to its
latest: one event that came a day late would make that whole day stale for every count, until the
next refresh.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

from service.events import MICROSECONDS

APART = 60 * MICROSECONDS
"""Microseconds without an event that are worth a transaction of their own."""

MOST_GROUPS = 16
"""A flush has at most so many transactions; then the widest gaps count."""

Item = TypeVar("Item")


def by_time(
    items: Sequence[Item], timestamp: Callable[[Item], int], *, most: int = MOST_GROUPS
) -> list[Sequence[Item]]:
    """Return the items, timestamps in microseconds, in groups that lie apart; the latest first."""
    timestamps = [timestamp(item) for item in items]
    if not items or max(timestamps) - min(timestamps) < APART:
        return [items]
    items = sorted(items, key=timestamp, reverse=True)
    gaps = [
        (timestamp(later) - timestamp(earlier), place)
        for place, (later, earlier) in enumerate(pairwise(items), start=1)
    ]
    widest = sorted((gap for gap in gaps if gap[0] >= APART), reverse=True)[: most - 1]
    cuts = [0, *sorted(place for _, place in widest), len(items)]
    return [items[start:end] for start, end in pairwise(cuts)]
