"""The ranges that are counted: drawn at random, half-open, each kind with edges of its own."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""PostgreSQL's, a midnight."""
MICROSECOND = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)

Range = tuple[datetime, datetime]
"""From the first instant to the second, which is not in it."""


@dataclass(frozen=True)
class Window:
    """What is loaded: from `first` to before `until`, which is a whole minute."""

    first: datetime
    until: datetime

    @classmethod
    def until_now(cls, length: timedelta) -> "Window":
        """Return the window that ends with the last whole minute."""
        until = datetime.now(UTC).replace(second=0, microsecond=0)
        return cls(until - length, until)

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return self.until - self.first


Kind = Callable[[Window, random.Random], Range]


def edges(width: timedelta) -> Kind:
    """Return how to draw a range between two different multiples of a width, in UTC."""

    def draw(window: Window, chance: random.Random) -> Range:
        first = window.first + (EPOCH - window.first) % width
        steps = (window.until - first) // width
        one, other = sorted(chance.sample(range(steps + 1), 2))
        return first + one * width, first + other * width

    return draw


def twenty_days(window: Window, chance: random.Random) -> Range:
    """Return 20 days from any microsecond on."""
    length = 20 * DAY
    start = window.first + _part(window.length - length, chance)
    return start, start + length


def ending_now(window: Window, chance: random.Random) -> Range:
    """Return all from any microsecond on, the events of this moment among them."""
    return window.first + _part(window.length, chance), datetime.now(UTC)


def _part(length: timedelta, chance: random.Random) -> timedelta:
    return chance.randrange(length // MICROSECOND) * MICROSECOND


MICROSECOND_EDGES, MINUTE_EDGES, ENDING_NOW = "microsecond edges", "minute edges", "ending now"
TWENTY_DAYS = "20 days"

OF_HOURS: dict[str, Kind] = {
    MINUTE_EDGES: edges(MINUTE),
    MICROSECOND_EDGES: edges(MICROSECOND),
    ENDING_NOW: ending_now,
}
OF_DAYS: dict[str, Kind] = {"day edges": edges(DAY), TWENTY_DAYS: twenty_days} | OF_HOURS
