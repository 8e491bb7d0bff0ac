"""Whether a run has passed, and in plain lines why not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loadtest.checks.conservation import Conservation, compare
from loadtest.checks.limits import (
    PERCENTILES,
    Endpoint,
    exceeded_ratios,
    exceeded_times,
    parse_limits,
)
from loadtest.checks.tally import Counts, Tally


@dataclass(frozen=True)
class Verdict:
    """What a run found."""

    passed: bool
    problems: tuple[str, ...]
    conservation: Conservation | None
    """None where the counts could not be read."""
    endpoints: tuple[Endpoint, ...]

    def lines(self) -> Iterator[str]:
        """Yield what people should read."""
        if self.conservation is not None:
            yield from (str(line) for line in self.conservation.lines)
        if self.passed:
            yield "PASSED: the counts moved by what was accepted, and every limit was kept"
        yield from (f"FAILED: {problem}" for problem in self.problems)


def judge(
    before: Counts | None,
    after: Counts | None,
    tally: Tally,
    endpoints: Sequence[Endpoint],
    options: Mapping[str, Any],
    *,
    writes: bool,
    problems: Sequence[str],
) -> Verdict:
    """Judge a run by its counts, its figures, the limits in the options, and known problems."""
    conservation = None
    found = list(problems)
    if before is not None and after is not None:
        conservation = compare(before, after, tally, writes=writes)
        found += conservation.violations()
    found += _exceeded(endpoints, options)
    if not endpoints:
        found.append("nothing was requested")
    return Verdict(not found, tuple(found), conservation, tuple(endpoints))


def _exceeded(endpoints: Sequence[Endpoint], options: Mapping[str, Any]) -> Iterator[str]:
    yield from exceeded_ratios(endpoints, float(options["max_error_ratio"]))
    for percentile in PERCENTILES:
        try:
            limits = parse_limits(options[f"max_p{percentile}_ms"])
        except ValueError as error:
            # The web UI takes any text.
            yield f"the limit of p{percentile} is wrong: {error}"
        else:
            yield from exceeded_times(endpoints, percentile, limits)
