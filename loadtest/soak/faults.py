"""What goes wrong during a run, and when: all by the seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["service killed", "database away", "database silent", "connections cut"]
KINDS: tuple[Kind, ...] = ("service killed", "database away", "database silent", "connections cut")
SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 10.0
"""Of what has a length."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong."""

    kind: Kind
    after_seconds: float
    """Since the end of the fault before."""
    seconds: float
    """How long it lasts; a kill and a cut take no time."""


def faults(seed: int, every_seconds: float) -> Iterator[Fault]:
    """Yield faults without end, so many seconds apart on average, each kind equally often."""
    chance = random.Random(seed)
    while True:
        for kind in chance.sample(KINDS, len(KINDS)):
            yield Fault(
                kind,
                chance.uniform(0.5, 1.5) * every_seconds,
                min(chance.uniform(SHORTEST_SECONDS, LONGEST_SECONDS), every_seconds),
            )
