"""How a run went, second by second. (Without Locust, whose import changes the whole process.)"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadtest.checks.limits import PERCENTILES

Times = Mapping[int, int]
"""How many requests took so many milliseconds, as exact as Locust keeps them."""

MOST_POINTS = 240


@dataclass(frozen=True)
class Sample:
    """How things stood at a moment of the run."""

    seconds: float
    """Since its start."""
    users: int
    requests: int
    """All so far."""
    failures: int
    times: Mapping[str, Times]
    """By endpoint: of the requests that ended since the sample before."""


def percentiles(times: Times) -> dict[int, float]:
    """Return the percentiles in milliseconds, as Locust reckons them; 0 where there are no times.

    Of parts of a run, at least one has a percentile that is not below that of the whole.
    """
    return {percentile: _percentile(times, percentile) for percentile in PERCENTILES}


def _percentile(times: Times, percentile: int) -> float:
    faster = sum(times.values())
    most = faster * percentile // 100
    for milliseconds in sorted(times, reverse=True):
        faster -= times[milliseconds]
        if faster <= most:
            return milliseconds
    return 0


def together(samples: Sequence[Sample], endpoint: str) -> Counter[int]:
    """Return the times of all requests of an endpoint in these samples."""
    times: Counter[int] = Counter()
    for sample in samples:
        times.update(sample.times.get(endpoint, {}))
    return times


def bins(samples: Sequence[Sample]) -> list[Sequence[Sample]]:
    """Return the samples, two or more seconds together: a screen has only so many points."""
    size = max(2, -(-len(samples) // MOST_POINTS))
    return [samples[first : first + size] for first in range(0, len(samples), size)]
