"""What a run leaves: what it prints, a JSON with its configuration, and a plot."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from rich.console import Console
from rich.table import Column, Table

from loadtest.baselines import POOL_CONNECTIONS
from loadtest.bench.bars import Bar
from loadtest.bench.ingest.cases import BATCHES, CASES, COPY, OURS, TWO_WORKERS, Case
from loadtest.bench.ingest.measuring import Load, Measurement
from loadtest.bench.ingest.summary import Summary
from loadtest.databases import settings, versions
from loadtest.report.plots import BLUE, GREY, ORANGE, RED, STYLE, TEAL, save

PACKAGES = ("uvloop", "httptools", "uvicorn", "starlette", "pydantic", "psycopg")


def configuration_of(url: str, server: str, load: Load, rounds: int) -> dict[str, Any]:
    """Return all that figures depend on."""
    return {
        "server": server,
        "versions": versions(url),
        "settings": settings(url),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "cores": os.cpu_count(),
        "generator": load.generator,
        "seconds": load.seconds,
        "rounds": rounds,
        "connections": load.connections,
        "rates": load.rates._asdict(),
        "pool_connections": POOL_CONNECTIONS,
    }


def print_configuration(console: Console, configuration: Mapping[str, Any]) -> None:
    """Print it, a line each."""
    for name, value in configuration.items():
        shown = value
        if isinstance(value, dict):
            shown = ", ".join(f"{key} {one}" for key, one in value.items())
        console.print(f"{name}: {shown}", markup=False, highlight=False, soft_wrap=True)


def print_table(console: Console, summaries: Mapping[str, Summary]) -> None:
    """Print the medians."""
    headings = ("over", "requests/s", "events/s", "p50 ms", "p99 ms")
    case = Column("case", no_wrap=True, min_width=max(map(len, summaries)))
    table = Table(case, *headings, "program us", "database us", "generator", "errors", "kept")
    for name, one in summaries.items():
        table.add_row(
            *(name, f"{one.connections}"),
            *(f"{one.requests_per_second:,.0f}", f"{one.events_per_second:,.0f}"),
            *(f"{one.p50_ms:,.2f}", f"{one.p99_ms:,.2f}", f"{one.program_us:,.1f}"),
            "" if one.database_us is None else f"{one.database_us:,.1f}",
            *(f"{one.generator_cores:.2f}", f"{one.errors:,}", "yes" if one.is_kept else "NO"),
        )
    console.print(table)


def write_json(
    path: Path,
    configuration: Mapping[str, Any],
    found: Mapping[str, Sequence[Measurement]],
    summaries: Mapping[str, Summary],
    bars: Sequence[Bar],
) -> Path:
    """Write all that was found."""
    result = {
        **configuration,
        "cases": {
            name: {
                "program": CASES[name].program.what,
                "medians": asdict(one),
                "runs": [asdict(run) | {"is_kept": run.is_kept} for run in found[name]],
            }
            for name, one in summaries.items()
        },
        "bars": [asdict(bar) | {"met": bar.met} for bar in bars],
    }
    path.write_text(json.dumps(result, indent=2) + "\n")
    return path


def draw(path: Path, summaries: Mapping[str, Summary]) -> Path:
    """Draw single events by program, and batches by their size."""
    with mpl.rc_context(STYLE):
        figure, (singles, batches) = plt.subplots(
            1, 2, figsize=(11, 3.6), layout="constrained", width_ratios=(1.1, 1)
        )
        _draw_singles(singles, summaries)
        _draw_batches(batches, summaries)
        return save(figure, path)


def _draw_singles(axis: Axes, summaries: Mapping[str, Summary]) -> None:
    cases = [case for name, case in CASES.items() if case.batch == 1 and name in summaries]
    cases.sort(key=lambda case: summaries[case.name].events_per_second)
    rates = [summaries[case.name].events_per_second for case in cases]
    colours = [_colour_of(case) for case in cases]
    drawn = axis.barh([case.program.what for case in cases], rates, color=colours)
    axis.bar_label(drawn, [f"{rate:,.0f}" for rate in rates], padding=3, color=GREY)
    axis.set_xlabel("single events a second")
    axis.margins(x=0.15)
    axis.grid(visible=False, axis="y")


def _colour_of(case: Case) -> str:
    if not case.program.stores:
        return GREY
    return BLUE if case.program in (OURS, TWO_WORKERS) else ORANGE


def _draw_batches(axis: Axes, summaries: Mapping[str, Summary]) -> None:
    for gzip, colour in ((False, BLUE), (True, TEAL)):
        points = [
            (case.batch, summaries[name].events_per_second)
            for name, case in CASES.items()
            if name in summaries
            and (case.program, case.gzip) == (OURS, gzip)
            and case.batch in BATCHES
        ]
        if points:
            axis.plot(
                *zip(*points, strict=True),
                color=colour,
                marker="o",
                label="gzip" if gzip else "identity",
            )
    for name, one in summaries.items():
        if CASES[name].program is COPY:
            axis.axhline(one.events_per_second, color=RED, linestyle=":", label=COPY.what)
    axis.set(xscale="log", xlabel="events in a batch", ylabel="events a second", ylim=(0, None))
    axis.set_xticks(BATCHES, [f"{size:,}" for size in BATCHES])
    axis.yaxis.set_major_formatter("{x:,g}")
    axis.minorticks_off()
    if axis.get_legend_handles_labels()[0]:
        axis.legend(labelcolor=GREY)
