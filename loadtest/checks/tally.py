"""What this process sent, and what became of it: the one side of the conservation check."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

Counts = Counter[str]
"""By event type."""


class Answer(NamedTuple):
    """What became of a request."""

    status: int
    """0 stands for none."""
    body: bytes | None
    error: object = None

    @property
    def unlike_202(self) -> str | None:
        """Why it is none of those that events are to get; None if it is one."""
        return None if self.status == 202 else f"answered {self.status} instead of 202"

    @property
    def is_refusal(self) -> bool:
        """Whether it says that nothing is stored, or nothing was sent, since nobody listened.

        A 503 with ids says that it may have been, and so may any other error of the server.
        """
        if self.status == 503:
            return not _may_bear_ids(self.body)
        return 400 <= self.status < 500 or isinstance(self.error, ConnectionRefusedError)


def _may_bear_ids(body: bytes | None) -> bool:
    try:
        return not json.loads(body or b"").keys().isdisjoint({"event_id", "event_ids"})
    except (ValueError, AttributeError):
        return True


@dataclass
class Tally:
    """Events by type; what was sent and neither accepted nor refused has an unknown outcome.

    An event is noted before it is sent, so that whatever cuts a request off leaves it unknown.
    """

    sent: Counts = field(default_factory=Counter)
    accepted: Counts = field(default_factory=Counter)
    """Answered 202."""
    refused: Counts = field(default_factory=Counter)
    """Answered that they are not stored, or never sent, since nothing listened."""

    @property
    def unknown(self) -> Counts:
        """Events that may have been stored, or not."""
        return self.sent - self.accepted - self.refused

    def note(self, events: Counts, answers: Sequence[Answer]) -> None:
        """Note the answers to events that were sent so often; they are stored once at the most."""
        if any(answer.status == 202 for answer in answers):
            self.accepted += events
        elif all(answer.is_refusal for answer in answers):
            self.refused += events

    def clear(self) -> None:
        """Begin a new run."""
        for counts in (self.sent, self.accepted, self.refused):
            counts.clear()

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.sent + other.sent, self.accepted + other.accepted, self.refused + other.refused
        )

    def as_message(self) -> dict[str, dict[str, int]]:
        """Return it as a worker sends it to the master."""
        counts = {"sent": self.sent, "accepted": self.accepted, "refused": self.refused}
        return {name: dict(count) for name, count in counts.items()}

    @classmethod
    def of_message(cls, message: dict[str, dict[str, int]]) -> Self:
        """Return what a worker sent."""
        return cls(**{name: Counter(counts) for name, counts in message.items()})


TALLY = Tally()
"""This process's own."""
