"""Counts ranges by SQL, over the service's kind of connection, and checks every answer."""

import random
import time
from collections.abc import Iterator, Mapping

import psycopg
from psycopg import Connection

from loadtest.bench.figures import Figures
from loadtest.bench.ranges import Kind, Range, Window
from loadtest.bench.truth import Truth
from loadtest.bench.ways import Way
from service.database.connections import CONNECTION

WARM_UP = 4
"""Rounds before those that are timed: psycopg prepares after five counts, and plans are kept."""

Found = dict[tuple[str, str], Figures]
"""By the kind of range, and the way to count."""


class SqlCounter:
    """Counts in a window, and compares with what is true."""

    def __init__(self, url: str, truth: Truth, window: Window, seed: int) -> None:
        self._url, self._truth, self._window = url, truth, window
        self._chance = random.Random(seed)

    def count(
        self, kinds: Mapping[str, Kind], ways: Mapping[str, Way], rounds: int, seconds: float
    ) -> Found:
        """Count a range of each kind in every way in each round, in no less than some seconds.

        So the figures of each kind are of the whole time, and of every state of the refreshes.
        """
        found: Found = {(kind, way): Figures() for kind in kinds for way in ways}
        with psycopg.connect(self._url, **CONNECTION) as connection:
            for way in ways.values():
                self._warm_up(connection, kinds, way, min(WARM_UP, rounds))
            for _ in _spread(rounds, seconds):
                for name, kind in kinds.items():
                    bounds = kind(self._window, self._chance)
                    for way_name, way in ways.items():
                        self._note(connection, bounds, way, found[name, way_name])
        return found

    def _warm_up(
        self, connection: Connection, kinds: Mapping[str, Kind], way: Way, rounds: int
    ) -> None:
        for _ in range(rounds):
            for kind in kinds.values():
                way(connection, kind(self._window, self._chance))

    def _note(self, connection: Connection, bounds: Range, way: Way, figures: Figures) -> None:
        low = self._truth.at_least(bounds)
        started = time.perf_counter()
        answer = way(connection, bounds)
        ended = time.perf_counter()
        figures.note(bounds, ended - started, low, answer, self._truth.at_most(bounds))


def _spread(rounds: int, seconds: float) -> Iterator[int]:
    """Yield each round when it is its time."""
    started = time.monotonic()
    for number in range(rounds):
        yield number
        time.sleep(max(0.0, started + seconds * (number + 1) / rounds - time.monotonic()))
