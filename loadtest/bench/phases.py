"""One set of events from its load to its last count, in phases."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psycopg

from loadtest.bench.beside import beside, converter, late_writer, refresher, writer
from loadtest.bench.counting import SqlCounter
from loadtest.bench.figures import Figures, Row
from loadtest.bench.loading import load, refresh
from loadtest.bench.over_http import PATH, read
from loadtest.bench.ranges import DAY, MICROSECOND_EDGES, Kind, Window
from loadtest.bench.truth import Truth, read_back
from loadtest.bench.ways import BASELINES, OURS, Way, ours
from loadtest.databases import settings, versions
from loadtest.processes import Service

BESIDE_WRITER, AT_ONCE, AT_REST = "beside a writer", "everything at once", "at rest"
READERS = (1, 50)


@dataclass(frozen=True)
class Plan:
    """How much is counted."""

    ranges: int
    """Of each kind, in each phase."""
    baselines: int
    """As many by each of the other ways."""
    seconds: float
    """How long a phase takes at least."""
    seed: int


@dataclass(frozen=True)
class EventSet:
    """What is loaded, and what goes on beside the counts."""

    name: str
    events: int
    length: timedelta
    kinds: dict[str, Kind]
    writes_per_second: int
    settle_seconds: float = 0.0
    """How long the writer writes before the first count: until the last minutes are full."""


@dataclass
class Measured:
    """What was found."""

    name: str
    events: int
    days: float
    database: str
    settings: dict[str, str]
    """The database's, as far as they matter here."""
    writes_per_second: int
    load_seconds: dict[str, float]
    written: int = 0
    """Events that were written beside the counts."""
    rows: list[Row] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Each wrong answer of ours."""

    def beside_writer(self, ranges: str, way: str) -> Row:
        """Return the figures of one kind of range, in the first phase."""
        wanted = (BESIDE_WRITER, ranges, way)
        [row] = [at for at in self.rows if (at.phase, at.ranges, at.way) == wanted]
        return row

    def note(self, row: Row, figures: Figures) -> None:
        """Add figures; only our own answers have to be right."""
        self.rows.append(row)
        if row.is_ours:
            self.wrong += [f"{row.phase}, {row.ranges}: {line}" for line in figures.wrong]


class Measurement:
    """Counts a set of events that is loaded."""

    def __init__(self, url: str, server: str, events: EventSet, plan: Plan) -> None:
        """Load it; `server` says where."""
        self._url, self._events, self._plan = url, events, plan
        self._window = Window.until_now(events.length)
        load_seconds = load(url, events.events, self._window, plan.seed)
        self._truth = Truth(read_back(url, self._window))
        self._counter = SqlCounter(url, self._truth, self._window, plan.seed)
        self.measured = Measured(
            events.name,
            self._truth.loaded.total(),
            round(events.length / DAY, 3),
            f"{versions(url)}, on {server}",
            settings(url),
            events.writes_per_second,
            load_seconds,
        )

    def run(self, log: Path, say: Callable[[str], None]) -> Measured:
        """Count beside a writer, in SQL and over HTTP, then everything at once, then at rest."""
        url, truth, plan = self._url, self._truth, self._plan
        live = writer(url, truth, self._events.writes_per_second)
        with beside(live):
            time.sleep(self._events.settle_seconds)
            say("counting beside a writer")
            self.count(BESIDE_WRITER, {OURS: ours}, plan.ranges, plan.seconds)
            self.count(BESIDE_WRITER, BASELINES, plan.baselines, seconds=0)
            say("counting over HTTP")
            self.count_over_http(log)
        say("counting beside late events, refreshes and conversions")
        with beside(live, late_writer(url, truth, self._window), refresher(url), converter(url)):
            self.count(AT_ONCE, {OURS: ours}, plan.ranges, plan.seconds)
        with psycopg.connect(url, autocommit=True) as connection:
            refresh(connection, Window.until_now(DAY))
        self.count(AT_REST, {OURS: ours}, plan.ranges, seconds=0)
        self.measured.written = truth.committed.total()
        return self.measured

    def count(self, phase: str, ways: dict[str, Way], rounds: int, seconds: float) -> None:
        """Count in SQL."""
        found = self._counter.count(self._events.kinds, ways, rounds, seconds)
        for (kind, way), figures in found.items():
            self.measured.note(figures.row(phase, kind, way), figures)

    def count_over_http(self, log: Path) -> None:
        """Count over HTTP, with one reader and with many, from a service of its own."""
        draw = self._events.kinds[MICROSECOND_EDGES]
        service = Service(self._url, log)
        with service.running():
            for readers in READERS:
                reading = read(
                    service.host,
                    self._truth,
                    lambda chance: draw(self._window, chance),
                    readers=readers,
                    seconds=self._plan.seconds / 2,
                )
                figures, per_second = asyncio.run(reading)
                phase = f"{readers} over HTTP"
                row = figures.row(phase, MICROSECOND_EDGES, f"GET {PATH}", per_second)
                self.measured.note(row, figures)
