"""What the counts are to reach, and whether a run did: reported, never asserted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loadtest.bench.figures import Row
from loadtest.bench.phases import Measured
from loadtest.bench.ranges import ENDING_NOW, MICROSECOND_EDGES, MINUTE_EDGES, TWENTY_DAYS
from loadtest.bench.sets import SPREAD_DAYS
from loadtest.bench.ways import OURS, RAW

REFERENCE_EVENTS = 16_000_000
"""The bars are those of this size; where a run has not got it, of its largest."""


@dataclass(frozen=True)
class Bar:
    """A figure, and how large it may be; `at_least` turns that around."""

    what: str
    figure: float
    limit: float
    unit: str = " ms"
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    def __str__(self) -> str:
        """Return the line that is printed."""
        relation = "at least" if self.at_least else "at most"
        return (
            f"{self.what}: {self.figure:,.2f}{self.unit}, "
            f"{relation} {self.limit:,g}: {'met' if self.met else 'NOT MET'}"
        )


def bars(every: Sequence[Measured]) -> list[Bar]:
    """Return what a run says of each bar for which it has figures."""
    spread = sorted(
        (at for at in every if at.days == SPREAD_DAYS), key=lambda measured: measured.events
    )
    dense = [at for at in every if at.days < 1]
    return [*_of_spread(spread), *(bar for at in dense for bar in _of_dense(at)), _exact(every)]


def _of_spread(spread: Sequence[Measured]) -> Iterator[Bar]:
    if not spread:
        return
    within = [at for at in spread if at.events <= REFERENCE_EVENTS]
    reference = (within or spread)[-1]
    random, days = _ours(reference, MICROSECOND_EDGES), _ours(reference, TWENTY_DAYS)
    raw = reference.beside_writer(TWENTY_DAYS, RAW)
    yield Bar(f"{reference.name}, microsecond edges, median", random.median_ms, 1.5)
    yield Bar(f"{reference.name}, microsecond edges, p99", random.p99_ms, 10)
    faster = raw.median_ms / days.median_ms
    yield Bar(f"{reference.name}, 20 days, raw COUNT's median", faster, 300, " times ours", True)
    if spread[0] is not reference:
        growth = random.median_ms / _ours(spread[0], MICROSECOND_EDGES).median_ms
        sizes = f"{reference.events:,} to {spread[0].events:,} events"
        yield Bar(f"{sizes}, microsecond edges, ratio of medians", growth, 1.5, "")


def _of_dense(dense: Measured) -> Iterator[Bar]:
    for kind, limit in ((MINUTE_EDGES, 2), (ENDING_NOW, 20)):
        row = _ours(dense, kind)
        what = f"{dense.name}, {kind}, median (p99 {row.p99_ms:,.2f} ms)"
        yield Bar(what, row.median_ms, limit)


def _exact(every: Sequence[Measured]) -> Bar:
    ours = [row for at in every for row in at.rows if row.is_ours]
    answers, wrong = sum(row.answers for row in ours), sum(row.wrong for row in ours)
    return Bar(f"right of {answers:,} answers", 100 * (1 - wrong / answers), 100, "%", True)


def _ours(measured: Measured, kind: str) -> Row:
    return measured.beside_writer(kind, OURS)
