"""From which number of users on more of them bring nothing any more.

A stage is a time in which the number of users stayed the same; its first seconds, in which they
start, are left out. What it sustained is what succeeded in the rest, a second. Saturation
is the fewest users that reached 95 % of the most that any stage sustained: beyond them more users
only wait longer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median

from loadtest.report.samples import Sample, percentiles

SETTLING_SECONDS = 2.0
LEAST_SECONDS = 3.0
NEAR_THE_MOST = 0.95


@dataclass(frozen=True)
class Stage:
    """What a number of users got."""

    users: int
    requests_per_second: float
    percentiles: dict[int, float]
    """Milliseconds: the median of its seconds, of the endpoint that was requested most."""


def stages(samples: Sequence[Sample], endpoint: str) -> list[Stage]:
    """Return the stages of a run in order of users; those that were too short are left out."""
    found: dict[int, Stage] = {}
    for users, group in groupby(samples, key=lambda sample: sample.users):
        held = list(group)
        settled = [at for at in held if at.seconds >= held[0].seconds + SETTLING_SECONDS]
        if not users or not settled or settled[-1].seconds - settled[0].seconds < LEAST_SECONDS:
            continue
        stage = Stage(users, _throughput(settled), _percentiles(settled, endpoint))
        if users not in found or stage.requests_per_second > found[users].requests_per_second:
            found[users] = stage
    return [found[users] for users in sorted(found)]


def saturation(stages: Sequence[Stage]) -> Stage | None:
    """Return the stage of the fewest users near the most throughput; None of no stages."""
    most = max((stage.requests_per_second for stage in stages), default=0.0)
    near = [stage for stage in stages if stage.requests_per_second >= NEAR_THE_MOST * most]
    return min(near, key=lambda stage: stage.users, default=None)


def _throughput(samples: Sequence[Sample]) -> float:
    first, last = samples[0], samples[-1]
    answered = (last.requests - last.failures) - (first.requests - first.failures)
    return answered / (last.seconds - first.seconds)


def _percentiles(samples: Sequence[Sample], endpoint: str) -> dict[int, float]:
    seen = [percentiles(at.times[endpoint]) for at in samples if endpoint in at.times]
    return {
        percentile: median(second[percentile] for second in seen)
        for percentile in (seen[0] if seen else ())
    }
