"""What ingest is to reach, and whether a run did: reported, never asserted."""

from collections.abc import Iterator, Mapping

from loadtest.bench.bars import Bar
from loadtest.bench.ingest.summary import Summary

RATIOS = (
    ("ours", "ceiling-asgi", 0.7),
    ("ours", "starlette-pool", 4),
    ("ours", "fastapi-sqlalchemy", 18),
    ("batch-1000", "copy-1000", 0.6),
    ("batch-20", "unawaited-20", 0.8),
)
"""Of the events a second of one case to those of another, at least."""


def bars(summaries: Mapping[str, Summary]) -> list[Bar]:
    """Return what a run says of each bar for which it has figures."""
    return [*_ratios(summaries), *_of_singles(summaries)]


def _ratios(summaries: Mapping[str, Summary]) -> Iterator[Bar]:
    for ours, other, limit in RATIOS:
        if ours in summaries and other in summaries:
            ratio = summaries[ours].events_per_second / summaries[other].events_per_second
            yield Bar(f"{ours} to {other}", ratio, limit, " times", at_least=True)


def _of_singles(summaries: Mapping[str, Summary]) -> Iterator[Bar]:
    if single := summaries.get("ours"):
        yield Bar("ours, CPU an event", single.program_us, 30, " us")
        yield Bar("ours, median", single.p50_ms, 3)
        yield Bar("ours, p99", single.p99_ms, 25)
