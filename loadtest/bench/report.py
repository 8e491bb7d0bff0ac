"""What a run leaves: counts.json with its configuration, counts.svg, and what it prints."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator
from rich.console import Console
from rich.table import Table

from loadtest.bench.bars import Bar
from loadtest.bench.phases import Measured
from loadtest.bench.ranges import MICROSECOND_EDGES
from loadtest.bench.sets import SPREAD_DAYS
from loadtest.bench.ways import DAYS, OURS, RAW
from loadtest.report.plots import BLUE, GREY, ORANGE, RED, STYLE, save

COLOURS = {RAW: RED, DAYS: ORANGE, OURS: BLUE}


def print_table(console: Console, measured: Measured) -> None:
    """Print the figures of one set of events."""
    headings = ("beside", "ranges", "counted by", "answers", "median ms", "p99 ms", "max ms")
    table = Table(*headings, "answers/s", "pinned", "wrong", title=measured.name)
    for row in measured.rows:
        table.add_row(
            *(row.phase, row.ranges, row.way, f"{row.answers:,}"),
            *(f"{figure:,.2f}" for figure in (row.median_ms, row.p99_ms, row.max_ms)),
            "" if row.per_second is None else f"{row.per_second:,.0f}",
            *(f"{row.pinned:,}", f"{row.wrong:,}"),
        )
    console.print(table)


def write_json(
    path: Path, configuration: dict[str, Any], every: Sequence[Measured], bars: Sequence[Bar]
) -> Path:
    """Write all that was found."""
    result = configuration | {
        "sets": [asdict(measured) for measured in every],
        "bars": [asdict(bar) | {"met": bar.met} for bar in bars],
    }
    path.write_text(json.dumps(result, indent=2) + "\n")
    return path


def draw(path: Path, every: Sequence[Measured]) -> Path:
    """Draw how long a count takes, by the number of events over the same days."""
    spread = sorted((at for at in every if at.days == SPREAD_DAYS), key=lambda at: at.events)
    sizes = [measured.events for measured in spread]
    with mpl.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(9, 4.2), layout="constrained")
        for way, colour in COLOURS.items():
            rows = [measured.beside_writer(MICROSECOND_EDGES, way) for measured in spread]
            medians, p99 = [row.median_ms for row in rows], [row.p99_ms for row in rows]
            axis.plot(sizes, medians, color=colour, marker="o", label=way)
            axis.plot(sizes, p99, color=colour, linestyle=":")
        axis.set(xscale="log", yscale="log", ylabel="ms")
        axis.set_xlabel(
            f"events over {SPREAD_DAYS} days; random ranges with microsecond edges, beside a "
            "writer; line: median, dots: p99"
        )
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:,g}")
        axis.minorticks_off()
        axis.legend(labelcolor=GREY)
        return save(figure, path)
