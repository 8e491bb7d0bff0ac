"""The medians of the runs of a case."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.bench.ingest.measuring import Measurement


@dataclass(frozen=True)
class Summary:
    """Medians of several runs, and whether all was kept in each."""

    case: str
    connections: int
    requests_per_second: float
    events_per_second: float
    p50_ms: float
    p99_ms: float
    program_us: float
    database_us: float | None
    generator_cores: float
    errors: int
    """Of all runs."""
    is_kept: bool


def summarize(runs: Sequence[Measurement]) -> Summary:
    """Return what is reported of the runs of one case, at least one."""

    def median(name: str) -> float:
        return float(statistics.median(getattr(one, name) for one in runs))

    return Summary(
        runs[0].case,
        runs[0].connections,
        median("requests_per_second"),
        median("events_per_second"),
        median("p50_ms"),
        median("p99_ms"),
        median("program_us"),
        None if any(one.database_us is None for one in runs) else median("database_us"),
        median("generator_cores"),
        errors=sum(one.errors for one in runs),
        is_kept=all(one.is_kept for one in runs),
    )
