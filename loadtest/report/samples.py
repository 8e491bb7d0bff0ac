"""How a run went, second by second. (Without Locust, whose import changes the whole process.)"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """How things stood at a moment of the run."""

    seconds: float
    """Since its start."""
    users: int
    requests: int
    """All so far."""
    failures: int
    percentiles: dict[str, dict[int, float]]
    """By endpoint, in milliseconds: of the requests that ended since the sample before."""
