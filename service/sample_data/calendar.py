"""When a site is busy: the hours of a range of days, and what share of the events each has."""

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import accumulate, pairwise
from typing import NamedTuple

from service.sample_data.draws import Draws

FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(9999, 12, 30)
"""What a UUIDv7 can hold, and Python with a day after it."""

DAY_MS, HOUR_MS = 86_400_000, 3_600_000

MONDAY_TO_SUNDAY = (1.05, 1.08, 1.06, 1.04, 1.0, 0.72, 0.78)
"""How busy the days of a week are."""


class Hour(NamedTuple):
    """An hour, and how many of all events are due before it and by its end."""

    start_ms: int
    of_day: int
    due_before: float
    due: float


class Calendar:
    """The hours of the days `start` to `end` in order, and how the events are spread over them."""

    def __init__(
        self, events: int, start: date, end: date, busy_by_hour: Sequence[float], draws: Draws
    ) -> None:
        self._events = events
        self._start_ms = (start - FIRST_DAY).days * DAY_MS
        self.end_ms = ((end - FIRST_DAY).days + 1) * DAY_MS
        self._days = [
            MONDAY_TO_SUNDAY[(start.weekday() + day) % 7] * draws.lognormvariate(0, 0.05)
            for day in range((end - start).days + 1)
        ]
        # The part of a day that is over at each full hour; exactly 1 at its end.
        self._day = [share / sum(busy_by_hour) for share in accumulate(busy_by_hour, initial=0.0)]
        self._day[-1] = 1.0

    def __iter__(self) -> Iterator[Hour]:
        # Added up in the loop's order, so that the last hour's quotient is exactly 1.
        total = 0.0
        for weight in self._days:
            total += weight
        before = 0.0
        for number, weight in enumerate(self._days):
            for hour, (begin, end) in enumerate(pairwise(self._day)):
                yield Hour(
                    self._start_ms + number * DAY_MS + hour * HOUR_MS,
                    hour,
                    self._events * ((before + weight * begin) / total),
                    self._events * ((before + weight * end) / total),
                )
            before += weight
