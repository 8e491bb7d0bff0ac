"""`scripts/bench counts`: how long counts take at which number of events, every answer checked."""

import os
import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from loadtest.bench import report
from loadtest.bench.bars import bars
from loadtest.bench.phases import EventSet, Measured, Measurement, Plan
from loadtest.bench.sets import chosen
from loadtest.databases import fresh_database, versions
from loadtest.processes import ROOT
from loadtest.report.folder import _machine as machine
from service import __version__

OUTPUT = ROOT / "build" / "bench"


def main(
    context: typer.Context,
    sizes: Annotated[str, typer.Option(help="Millions of events over 22 days.")] = "1,4,16",
    hundred_million: Annotated[
        bool, typer.Option("--hundred-million", help="100 million of them as well.")
    ] = False,
    three_years: Annotated[
        bool, typer.Option("--three-years", help="The largest size over three years as well.")
    ] = False,
    dense_minutes: Annotated[
        int, typer.Option(min=0, help="How long 1,000 events a second; 0 leaves it out.")
    ] = 180,
    settle_seconds: Annotated[
        float, typer.Option(min=0, help="How long those come in before the first count.")
    ] = 90,
    ranges: Annotated[int, typer.Option(min=1, help="Ranges of each kind, in each phase.")] = 300,
    baselines: Annotated[
        int, typer.Option(min=1, help="As many by raw COUNT, and by the daily aggregate.")
    ] = 15,
    seconds: Annotated[float, typer.Option(min=0, help="How long a phase takes at least.")] = 45,
    seed: Annotated[int, typer.Option(help="Equal seeds draw equal ranges.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="The folder for JSON and plot; else in build/bench.")
    ] = None,
) -> None:
    """Count random ranges of several numbers of events, beside a writer and the refreshes.

    The exit status is 1 if an answer is wrong; the bars are only reported.
    """
    console = Console(width=None if sys.stdout.isatty() else 160)
    folder = out or OUTPUT / f"counts-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True, exist_ok=True)
    configuration = _configuration(context)
    plan = Plan(ranges, baselines, seconds, seed)
    every = []
    for events in chosen(
        parsed(sizes),
        hundred_million=hundred_million,
        three_years=three_years,
        dense_minutes=dense_minutes,
        settle_seconds=settle_seconds,
    ):
        every.append(_measure(events, plan, folder, console.print))
        report.print_table(console, every[-1])
    found = bars(every)
    report.write_json(folder / "counts.json", configuration | {"machine": machine()}, every, found)
    report.draw(folder / "counts.svg", every)
    for line in (*_wrong(every), *found, f"Report: {folder}"):
        console.print(str(line), soft_wrap=True, highlight=False)
    raise typer.Exit(bool(_wrong(every)))


def parsed(sizes: str) -> list[float]:
    """Return the sizes of a list with commas. Raises typer.BadParameter."""
    try:
        found = [float(size) for size in sizes.split(",")]
    except ValueError as error:
        raise typer.BadParameter("Must be numbers, like 1,4,16", param_hint="--sizes") from error
    if not all(0 < size < 1000 for size in found):
        raise typer.BadParameter("Must be above 0 and below 1000", param_hint="--sizes")
    return found


def _measure(events: EventSet, plan: Plan, folder: Path, say: Callable[[str], None]) -> Measured:
    with fresh_database() as (url, server):
        say(f"{events.name}: loading, on {server}, {versions(url)}")
        measurement = Measurement(url, server, events, plan)
        say(f"loaded; seconds: {measurement.measured.load_seconds}")
        return measurement.run(folder / "service.log", say)


def _configuration(context: typer.Context) -> dict[str, Any]:
    options = {name: value for name, value in context.params.items() if name != "out"}
    return {
        "command": shlex.join(["scripts/bench", *sys.argv[1:]]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "tallymark": __version__,
        "python": sys.version.split()[0],
        "options": options,
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def _wrong(every: list[Measured]) -> list[str]:
    return [f"WRONG: {measured.name}: {line}" for measured in every for line in measured.wrong]
