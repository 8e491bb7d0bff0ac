"""What this process sent, and what became of it: the one side of the conservation check."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Self

Counts = Counter[str]
"""By event type."""


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

    def note(self, event_type: str, status: int, body: bytes | None, error: object = None) -> None:
        """Note the answer to an event; status 0 stands for none."""
        if status == 202:
            self.accepted[event_type] += 1
        elif is_refusal(status, body) or isinstance(error, ConnectionRefusedError):
            self.refused[event_type] += 1

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


def is_refusal(status: int, body: bytes | None) -> bool:
    """Return whether an answer says that the event is not stored.

    A 503 with an event_id says that it may have been, and so may any other error of the server.
    """
    if status != 503:
        return 400 <= status < 500
    try:
        return "event_id" not in json.loads(body or b"")
    except ValueError:
        return False


TALLY = Tally()
"""This process's own."""
