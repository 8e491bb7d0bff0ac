"""Whether the counts moved by what was accepted: by type, and exactly, unless outcomes are unknown.

Nobody else may send events to the service meanwhile.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from loadtest.checks.tally import Counts, Tally


@dataclass(frozen=True)
class Line:
    """What happened to the events of one type."""

    event_type: str
    accepted: int
    unknown: int
    moved: int

    @property
    def holds(self) -> bool:
        """Whether all that was accepted was counted, and nothing that can't have been stored."""
        return self.accepted <= self.moved <= self.accepted + self.unknown

    def __str__(self) -> str:
        said = f"{self.event_type}: {self.accepted:,} accepted, the count moved by {self.moved:,}"
        if self.unknown:
            said += f", {self.unknown:,} with an unknown outcome"
        if self.moved < self.accepted:
            return f"{said}: {self.accepted - self.moved:,} LOST"
        surplus = self.moved - self.accepted - self.unknown
        return f"{said}: {surplus:,} TOO MANY" if surplus > 0 else said


@dataclass(frozen=True)
class Conservation:
    """The comparison of one run."""

    lines: tuple[Line, ...]
    writes: bool
    """Whether the run had users that send events."""

    @property
    def accepted(self) -> int:
        """How many events were answered 202."""
        return sum(line.accepted for line in self.lines)

    def violations(self) -> Iterator[str]:
        """Yield a line for each thing that is not as it must be."""
        yield from (f"conservation: {line}" for line in self.lines if not line.holds)
        if self.writes and not self.accepted:
            yield "conservation: the run was to send events, and none was accepted"


def compare(before: Counts, after: Counts, tally: Tally, *, writes: bool) -> Conservation:
    """Compare what counts said before and after a run with what the run sent."""
    types = sorted(before.keys() | after.keys() | tally.sent.keys())
    unknown = tally.unknown
    lines = (
        Line(name, tally.accepted[name], unknown[name], after[name] - before[name])
        for name in types
    )
    return Conservation(tuple(lines), writes)
