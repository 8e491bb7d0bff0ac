"""The command line: `python -m loadtest.soak`, or `scripts/soak`, which sees to its packages."""

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from loadtest.bench.figures import percentile
from loadtest.databases import fresh_database
from loadtest.soak.plot import MIB, draw
from loadtest.soak.run import Course, Plan, run

FIFTHS = 5


def main(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long.")] = 30,
    rate: Annotated[float, typer.Option(min=1, help="Events a second.")] = 500,
    every: Annotated[float, typer.Option(min=1, help="Seconds between faults, on average.")] = 20,
    seed: Annotated[int, typer.Option(help="The same seed has the same faults.")] = 1,
    output: Annotated[Path, typer.Option(help="A folder for the plot and the log.")] = Path(
        "build/soak"
    ),
) -> None:
    """Send events while the service is killed, and the database away, silent or cut off.

    Ends with 1 if an event that was answered 202 is lost or stored twice, or one that was refused
    is stored. On a fresh database: of DATABASE_URL's server, else an embedded one.
    """
    output.mkdir(parents=True, exist_ok=True)
    plan = Plan(minutes * 60, rate, seed, every)
    with fresh_database() as (url, server):
        typer.echo(f"{minutes:g} minutes on {server}, {rate:g} events/s, seed {seed}")
        course, comparison = run(plan, url, output / "service.log")
    typer.echo(_faults(course))
    for name, fifth in (("first", 0), ("last", FIFTHS - 1)):
        typer.echo(f"{name} fifth: {_figures(course, plan.seconds, fifth)}")
    typer.echo(comparison)
    typer.echo(f"plot: {draw(course, plan.seconds, output / 'soak.svg')}")
    if not comparison.promise_holds:
        sys.exit("FAILED: the promise did not hold")


def _faults(course: Course) -> str:
    kinds = Counter(fault.kind for _, fault in course.faults)
    return ", ".join(f"{kind}: {times}" for kind, times in kinds.items()) or "no faults"


def _figures(course: Course, seconds: float, fifth: int) -> str:
    """Return what a fifth of the run was like."""
    start, end = seconds * fifth / FIFTHS, seconds * (fifth + 1) / FIFTHS
    accepted = [one for one in course.answers if start <= one.at < end and one.status == 202]
    times = [one.seconds * 1000 for one in accepted]
    memory = [held for at, held in course.memory if start <= at < end]
    if not times or not memory:
        return "nothing was accepted"
    return (
        f"{sum(one.events for one in accepted) / (end - start):,.0f} events/s, "
        f"p50 {percentile(times, 50):.1f} ms, p99 {percentile(times, 99):.1f} ms, "
        f"at most {max(memory) / MIB:.0f} MiB"
    )


if __name__ == "__main__":
    typer.run(main)
