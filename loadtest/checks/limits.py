"""Limits of errors and answers' times, and what a run's endpoints exceed of them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

PERCENTILES = (50, 95, 99)
EVERY_ENDPOINT = "*"

Limits = Mapping[str, float]
"""Milliseconds by endpoint, as in `POST /events`; `*` is every one that has no limit of its own."""


@dataclass(frozen=True)
class Endpoint:
    """The figures of all requests of one name; times in milliseconds, as exact as Locust's."""

    name: str
    """Method and path, as in `POST /events`."""
    requests: int
    failures: int
    percentiles: dict[int, float]
    max_ms: float

    @property
    def error_ratio(self) -> float:
        """The part of the requests that failed."""
        return self.failures / self.requests if self.requests else 0.0


def parse_limits(text: str) -> dict[str, float]:
    """Return the limits of a text like `250` or `POST /events=250,GET /docs=50`.

    Raises ValueError.
    """
    limits: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, figure = part.rpartition("=")
        milliseconds = _number(figure)
        endpoint = " ".join(name.split()) if equals else EVERY_ENDPOINT
        if not endpoint or endpoint in limits or not 0 < milliseconds < math.inf:
            raise ValueError(f"{part!r} is no limit like 250 or POST /events=250")
        limits[endpoint] = milliseconds
    return limits


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def exceeded_ratios(endpoints: Sequence[Endpoint], most: float) -> Iterator[str]:
    """Yield a line for each endpoint of which too many requests failed."""
    for endpoint in endpoints:
        if endpoint.error_ratio > most:
            yield (
                f"{endpoint.name}: {endpoint.failures:,} of {endpoint.requests:,} requests failed "
                f"({endpoint.error_ratio:.2%}; at most {most:.2%} may)"
            )


def exceeded_times(endpoints: Sequence[Endpoint], percentile: int, limits: Limits) -> Iterator[str]:
    """Yield a line for each endpoint that was too slow, and for each limit that met no request."""
    for endpoint in endpoints:
        most = limits.get(endpoint.name, limits.get(EVERY_ENDPOINT, math.inf))
        milliseconds = endpoint.percentiles[percentile]
        if milliseconds > most:
            yield f"{endpoint.name}: p{percentile} was {milliseconds:g} ms, at most {most:g} may be"
    for name in limits.keys() - {EVERY_ENDPOINT} - {endpoint.name for endpoint in endpoints}:
        yield f"{name}: has a limit of p{percentile}, and was never requested"
