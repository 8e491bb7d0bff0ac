"""What writers have sent and what was acknowledged to them, and what a count may be in between."""

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

Key = tuple[int, str]
"""A range, by its number, and a kind of event."""

ALL = "all"


def user_kind(user: str) -> str:
    """Return the kind of a user's events."""
    return f"user {user}"


def page_kind(path: str) -> str:
    """Return the kind of a page's views."""
    return f"page {path}"


def element_kind(element: str) -> str:
    """Return the kind of an element's clicks."""
    return f"element {element}"


@dataclass(frozen=True)
class Row:
    """An event, as far as it is counted."""

    timestamp: datetime
    event_id: UUID
    event_type: str
    user_id: str
    page: str
    element: str

    @property
    def kinds(self) -> set[str]:
        """What it is counted as: an event, one of its type, its user's, a page's, an element's."""
        of_type = {"view": {page_kind(self.page)}, "click": {element_kind(self.element)}}
        kinds = {ALL, self.event_type, user_kind(self.user_id)}
        return kinds | of_type.get(self.event_type, set())


@dataclass
class Change:
    """What one transaction adds and takes away."""

    added: list[Row] = field(default_factory=list)
    deleted: list[Row] = field(default_factory=list)
    retyped: list[tuple[Row, Row]] = field(default_factory=list)


@dataclass
class _Tally:
    plus: Counter[Key] = field(default_factory=Counter)
    minus: Counter[Key] = field(default_factory=Counter)

    def add(self, other: "_Tally", sign: int = 1) -> None:
        for mine, theirs in ((self.plus, other.plus), (self.minus, other.minus)):
            for key, number in theirs.items():
                mine[key] += sign * number


class Ledger:
    """Sums, by range and kind, of transactions whose COMMIT was sent, and of those acknowledged.

    A transaction is sent until its COMMIT was answered, and then acknowledged; one that is rolled
    back is never entered, or withdrawn. At any time all that was acknowledged has happened, and
    nothing that was not sent.
    """

    def __init__(self, ranges: list[tuple[datetime, datetime]]) -> None:
        self.ranges = ranges
        self._lock = threading.Lock()
        self._sent = _Tally()
        self._acknowledged = _Tally()

    def send(self, change: Change) -> None:
        """Enter what is about to be committed."""
        with self._lock:
            self._sent.add(self._tally(change))

    def withdraw(self, change: Change) -> None:
        """Take back what was sent, and refused."""
        with self._lock:
            self._sent.add(self._tally(change), -1)

    def acknowledge(self, change: Change) -> None:
        """Enter that a COMMIT was answered."""
        with self._lock:
            self._acknowledged.add(self._tally(change))

    def before(self, number: int, kinds: Iterable[str]) -> dict[str, tuple[int, int]]:
        """Return how many were surely added to a range, and surely taken away."""
        return self._look(self._acknowledged, number, kinds)

    def after(self, number: int, kinds: Iterable[str]) -> dict[str, tuple[int, int]]:
        """Return how many may have been added to a range, and may have been taken away."""
        return self._look(self._sent, number, kinds)

    def _look(self, tally: _Tally, number: int, kinds: Iterable[str]) -> dict[str, tuple[int, int]]:
        with self._lock:
            return {kind: (tally.plus[number, kind], tally.minus[number, kind]) for kind in kinds}

    def _tally(self, change: Change) -> _Tally:
        tally = _Tally()
        for row in change.added:
            tally.plus.update(self._keys(row, row.kinds))
        for row in change.deleted:
            tally.minus.update(self._keys(row, row.kinds))
        for old, new in change.retyped:
            tally.minus.update(self._keys(old, old.kinds - new.kinds))
            tally.plus.update(self._keys(new, new.kinds - old.kinds))
        return tally

    def _keys(self, row: Row, kinds: set[str]) -> list[Key]:
        return [
            (number, kind)
            for number, (start, end) in enumerate(self.ranges)
            if start <= row.timestamp < end
            for kind in kinds
        ]
