"""The figures of one kind of range, counted in one way: times, and how the answers were checked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from loadtest.bench.ranges import Range
from loadtest.bench.truth import Counts, within
from loadtest.bench.ways import BASELINES


@dataclass(frozen=True)
class Row:
    """What is reported of them."""

    phase: str
    ranges: str
    way: str
    answers: int
    median_ms: float
    p99_ms: float
    max_ms: float
    pinned: int
    """Answers of which only one number was right: nothing was being written into their range."""
    wrong: int
    per_second: float | None = None
    """Where readers count as fast as they can."""

    @property
    def is_ours(self) -> bool:
        """Whether it is the answers of this program, which have to be right."""
        return self.way not in BASELINES


@dataclass
class Figures:
    """Times and checks, as they come in."""

    milliseconds: list[float] = field(default_factory=list)
    pinned: int = 0
    wrong: list[str] = field(default_factory=list)

    def note(
        self, bounds: Range, seconds: float, low: Counts, answer: Counts | int, high: Counts
    ) -> None:
        """Note how long an answer took, and whether it is right."""
        self.milliseconds.append(seconds * 1000)
        self.pinned += low == high
        if not within(low, answer, high):
            start, end = (edge.isoformat() for edge in bounds)
            self.wrong.append(
                f"{start} to {end}: {_shown(answer)}, not {_shown(low)} to {_shown(high)}"
            )

    def row(self, phase: str, ranges: str, way: str, per_second: float | None = None) -> Row:
        """Return what is to be reported."""
        times = self.milliseconds
        return Row(
            phase,
            ranges,
            way,
            answers=len(times),
            median_ms=percentile(times, 50),
            p99_ms=percentile(times, 99),
            max_ms=percentile(times, 100),
            pinned=self.pinned,
            wrong=len(self.wrong),
            per_second=None if per_second is None else round(per_second, 1),
        )


def percentile(values: Sequence[float], part: int) -> float:
    """Return the smallest value that so many percent of all are not above, to the microsecond."""
    return round(sorted(values)[math.ceil(len(values) * part / 100) - 1], 3)


def _shown(answer: Counts | int) -> str:
    return str(answer if isinstance(answer, int) else dict(sorted(answer.items())))
