"""What becomes of ingest as events and connections grow, and what an event takes on disk.

`scripts/bench growth` loads each number of events into a new database of the server of
DATABASE_URL, which it drops afterwards, and measures the service there; its policies run beside.
"""

import json as jsons
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import typer
from matplotlib import pyplot as plt
from rich.console import Console
from rich.table import Table

from loadtest.bench import loading
from loadtest.bench.ingest.cases import CASES
from loadtest.bench.ingest.generators import GeneratorError, available
from loadtest.bench.ingest.measuring import Load, Measurement, measure
from loadtest.bench.ingest.report import configuration_of, print_configuration
from loadtest.bench.ingest.requests import Rates
from loadtest.bench.ranges import DAY, Window
from loadtest.bench.sets import SPREAD_DAYS
from loadtest.databases import fresh_database
from loadtest.processes import RunError
from loadtest.report.plots import BLUE, GREY, STYLE, TEAL, save
from service.server import exit_on_signals

SINGLE, BATCHED = "ours", "batch-1000"
EVENTS_A_SECOND = 1000
"""For the forecast of a year."""
LATE_DAYS = 8
"""So many days stay rows: the late window, and the day that is being written."""

AGGREGATES = """
select sum(hypertable_size(
    format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)::regclass
)) from timescaledb_information.continuous_aggregates
"""
COLUMNS = """
select
    sum(before_compression_total_bytes),
    sum(after_compression_total_bytes),
    (select count(*) from events where timestamp < (
        select max(range_end) from timescaledb_information.chunks
        where hypertable_name = 'events' and is_compressed
    ))
from chunk_columnstore_stats('events')
where compression_status = 'Compressed'
"""


@dataclass(frozen=True)
class Disk:
    """What an event takes, in bytes."""

    as_rows: float
    as_columns: float
    in_aggregates: float
    """Of all aggregates, before they become columns."""

    @property
    def a_year(self) -> float:
        """Bytes of events after a year of EVENTS_A_SECOND, the last days of them rows."""
        day = EVENTS_A_SECOND * 86_400
        return day * (LATE_DAYS * self.as_rows + (365 - LATE_DAYS) * self.as_columns)

    def __str__(self) -> str:
        """Return the line that is printed."""
        return (
            f"an event takes {self.as_rows:.0f} B as a row, {self.as_columns:.0f} B in columns, "
            f"{self.in_aggregates:.1f} B in aggregates; a year of {EVENTS_A_SECOND:,} events a "
            f"second {self.a_year / 1e12:.2f} TB"
        )


@dataclass(frozen=True)
class Point:
    """What was measured beside so many stored events."""

    events: int
    found: Measurement


def main(
    sizes: Annotated[str, typer.Option(help="Millions of stored events.")] = "1,10,30",
    connections: Annotated[str, typer.Option(help="To send over.")] = "1,16,64,256,1000",
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each run sends.")] = 5.0,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 1,
    json: Annotated[Path | None, typer.Option(help="Where to write all figures.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Where to draw them, as SVG.")] = None,
) -> None:
    """Measure ingest beside more and more events, over more and more connections."""
    exit_on_signals()
    generator = available()
    loads = [
        Load(seconds, number, Rates(), generator)
        for number in sorted(map(int, connections.split(",")))
    ]
    console = Console()
    points: list[Point] = []
    disks: dict[int, Disk] = {}
    try:
        for events in sorted(round(float(size) * 1e6) for size in sizes.split(",")):
            with fresh_database() as (url, server):
                if not points:
                    configuration = configuration_of(url, server, loads[0], rounds)
                    configuration["connections"] = connections
                    print_configuration(console, configuration)
                disks[events] = _load(url, events)
                console.print(f"{events:,} events: {disks[events]}", highlight=False)
                for point in _measure(url, events, loads, rounds):
                    points.append(point)
                    console.print(f"over {point.found.connections:,}: {point.found}")
    except (RunError, GeneratorError) as error:
        sys.exit(f"tallymark: {error}")
    console.print(_table(points))
    if json is not None:
        json.write_text(_as_json(configuration, points, disks))
    if plot is not None:
        _draw(plot, points)
    if not all(point.found.is_kept for point in points):
        raise typer.Exit(1)


def _load(url: str, events: int) -> Disk:
    window = Window.until_now(SPREAD_DAYS * DAY)
    with loading.policies_paused(url) as connection:
        loading.insert(url, events, window, seed=1)
        connection.execute("call refresh_counts()")
        [(aggregates,)] = connection.execute(AGGREGATES).fetchall()
        loading.convert_old_chunks(connection)
        [(before, after, converted)] = connection.execute(COLUMNS).fetchall()
        connection.execute("vacuum (analyze)")
    # Of whole chunks, which hold the events of their days and nothing else.
    return Disk(float(before / converted), float(after / converted), float(aggregates / events))


def _measure(url: str, events: int, loads: Sequence[Load], rounds: int) -> Iterator[Point]:
    cases = [(SINGLE, load) for load in loads] + [(BATCHED, loads[len(loads) // 2])]
    for _, (name, load) in product(range(rounds), cases):
        yield Point(events, measure(CASES[name], load, url, set()))


def _table(points: Sequence[Point]) -> Table:
    headings = ("stored before", "case", "over", "events/s", "p50 ms", "p99 ms")
    table = Table(*headings, "program us", "database us", "program MiB", "kept")
    for point in points:
        found = point.found
        table.add_row(
            *(f"{point.events:,}", found.case, f"{found.connections:,}"),
            *(f"{found.events_per_second:,.0f}", f"{found.p50_ms:,.2f}", f"{found.p99_ms:,.2f}"),
            f"{found.program_us:,.1f}",
            "" if found.database_us is None else f"{found.database_us:,.1f}",
            *(f"{found.program_mib:,.0f}", "yes" if found.is_kept else "NO"),
        )
    return table


def _as_json(configuration: dict[str, Any], points: Sequence[Point], disks: dict[int, Disk]) -> str:
    result = configuration | {
        "disk": {events: asdict(disk) | {"a_year": disk.a_year} for events, disk in disks.items()},
        "runs": [
            {"stored_before": point.events, **asdict(point.found), "is_kept": point.found.is_kept}
            for point in points
        ],
    }
    return jsons.dumps(result, indent=2) + "\n"


def _draw(path: Path, points: Sequence[Point]) -> None:
    """Draw single events a second, and how long they took, by connections."""
    sizes = sorted({point.events for point in points})
    with mpl.rc_context(STYLE):
        figure, (rates, times) = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
        for events, colour in zip(sizes, (TEAL, BLUE, GREY) * len(sizes), strict=False):
            found = [p.found for p in points if p.events == events and p.found.case == SINGLE]
            over = [one.connections for one in found]
            name = f"{events / 1e6:g} million stored"
            style: dict[str, Any] = {"marker": "o", "color": colour}
            rates.plot(over, [one.events_per_second for one in found], label=name, **style)
            times.plot(over, [one.p99_ms for one in found], **style)
        for axis, what in ((rates, "single events a second"), (times, "p99, ms")):
            axis.set(xscale="log", xlabel="connections", ylabel=what, ylim=(0, None))
            axis.set_xticks(over, [f"{number:,}" for number in over])
            axis.minorticks_off()
        rates.yaxis.set_major_formatter("{x:,g}")
        rates.legend(labelcolor=GREY)
        save(figure, path)
