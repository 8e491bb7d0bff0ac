"""The command: each case in each round, in a fresh database; what is reported are medians."""

import os
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from loadtest.bench.ingest.bars import bars
from loadtest.bench.ingest.cases import CASES, Case
from loadtest.bench.ingest.cpu import tree
from loadtest.bench.ingest.generators import GeneratorError, available
from loadtest.bench.ingest.measuring import Load, Measurement, measure
from loadtest.bench.ingest.report import (
    configuration_of,
    draw,
    print_configuration,
    print_table,
    write_json,
)
from loadtest.bench.ingest.requests import Rates
from loadtest.bench.ingest.summary import summarize
from loadtest.databases import fresh_database
from loadtest.processes import RunError
from service.server import exit_on_signals

TABLE_CHARACTERS = 140


def _share(of: str) -> Any:
    return typer.Option(min=0, max=0.25, help=f"Share of events that {of}.")


def main(
    cases: Annotated[str, typer.Option(help="Which, with commas.")] = ",".join(CASES),
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each run sends.")] = 5.0,
    rounds: Annotated[int, typer.Option(min=1, help="How often each case is measured.")] = 3,
    connections: Annotated[
        int, typer.Option(min=1, help="To send over; fewer where batches are large.")
    ] = 64,
    late: Annotated[float, _share("are minutes to days old")] = 0,
    resend: Annotated[float, _share("were sent before")] = 0,
    invalid: Annotated[float, _share("are not valid")] = 0,
    json: Annotated[Path | None, typer.Option(help="Where to write all figures.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Where to draw them, as SVG.")] = None,
) -> None:
    """Measure ingest: the service beside ceilings, other stacks, and COPY."""
    exit_on_signals()
    load = Load(seconds, connections, Rates(late, resend, invalid), available())
    console = Console(width=max(Console().width, TABLE_CHARACTERS))
    try:
        configuration, found = _measure_all(console, _chosen(cases, load.rates), load, rounds)
    except (RunError, GeneratorError) as error:
        sys.exit(f"tallymark: {error}")
    summaries = {name: summarize(runs) for name, runs in found.items()}
    print_table(console, summaries)
    reached = bars(summaries)
    for bar in reached:
        console.print(str(bar), markup=False, highlight=False, soft_wrap=True)
    if json is not None:
        write_json(json, configuration, found, summaries, reached)
    if plot is not None:
        draw(plot, summaries)
    if not all(one.is_kept for one in summaries.values()):
        raise typer.Exit(1)


def _measure_all(
    console: Console, cases: Sequence[Case], load: Load, rounds: int
) -> tuple[dict[str, Any], dict[str, list[Measurement]]]:
    configuration: dict[str, Any] = {}
    found: dict[str, list[Measurement]] = {case.name: [] for case in cases}
    for number, case in product(range(rounds), cases):
        with fresh_database() as (url, server):
            if not configuration:
                configuration = configuration_of(url, server, load, rounds)
                print_configuration(console, configuration)
            found[case.name].append(measure(case, load, url, _embedded()))
        line = f"round {number + 1}: {found[case.name][-1]}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return configuration, found


def _chosen(names: str, rates: Rates) -> list[Case]:
    unknown = [name for name in names.split(",") if name not in CASES]
    if unknown:
        raise typer.BadParameter(f"There is no case {unknown[0]}: {', '.join(CASES)}.")
    chosen = [CASES[name] for name in names.split(",")]
    return [case for case in chosen if case.program.takes_ids or not rates.give_ids]


def _embedded() -> set[int]:
    """Return the processes of the embedded server, which are all that we started so far."""
    given = "DATABASE_URL" in os.environ
    return set() if given else tree(os.getpid()) - {os.getpid()}
