"""Plots as SVG: no background and grey text, so that they can be read on light and dark pages."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtest.checks.limits import PERCENTILES
from loadtest.report.samples import Sample, bins, percentiles, together
from loadtest.report.saturation import Stage, saturation

GREY = "#808080"
BLUE, TEAL, ORANGE, RED = "#3b82f6", "#14a38b", "#e08a1e", "#dc4a4a"
COLOURS = dict(zip(PERCENTILES, (TEAL, ORANGE, RED), strict=True))
FEW = 100
"""Of fewer requests at a point, p99 is the slowest, and p95 often the same."""

STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tallymark",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": GREY,
    "axes.labelcolor": GREY,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}


def over_time(samples: Sequence[Sample], path: Path) -> Path:
    """Draw requests a second with the users, and each endpoint's percentiles, over time."""
    parts = bins(samples)
    endpoints = _shown({name for sample in samples for name in sample.times})
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(
            1 + len(endpoints),
            1,
            sharex=True,
            squeeze=False,
            figsize=(9, 2.6 + 1.7 * len(endpoints)),
            layout="constrained",
        )
        _draw_rates(axes[0, 0], parts)
        for axis, endpoint in zip(axes[1:, 0], endpoints, strict=True):
            _draw_percentiles(axis, parts, endpoint)
        axes[-1, 0].set_xlabel(f"seconds; percentiles are of all requests of {len(parts[0])} s")
        return save(figure, path)


def over_users(stages: Sequence[Stage], endpoint: str, path: Path) -> Path:
    """Draw what each number of users sustained, with the saturation, and how long they waited."""
    users = [stage.users for stage in stages]
    with mpl.rc_context(STYLE):
        figure, (above, below) = plt.subplots(
            2, 1, sharex=True, figsize=(9, 5.6), layout="constrained"
        )
        above.plot(users, [at.requests_per_second for at in stages], color=BLUE, marker="o")
        _mark_saturation(above, stages)
        above.set_ylabel("requests/s")
        above.set_ylim(bottom=0)
        for percentile, colour in COLOURS.items():
            times = [stage.percentiles.get(percentile) for stage in stages]
            below.plot(users, times, color=colour, marker="o", label=f"p{percentile}")
        below.set_title(endpoint, loc="left", fontsize=10)
        below.set_ylabel("ms")
        below.set_ylim(bottom=0)
        below.set_xlabel("users")
        below.legend(ncols=3, labelcolor=GREY)
        below.set_xscale("log", base=2)
        below.set_xticks(users, [f"{number:,}" for number in users])
        below.minorticks_off()
        return save(figure, path)


def _shown(endpoints: set[str]) -> list[str]:
    """Return the endpoints to draw; refusals are of interest where there is nothing else."""
    return sorted(name for name in endpoints if "(malformed)" not in name) or sorted(endpoints)


def _mark_saturation(axis: Axes, stages: Sequence[Stage]) -> None:
    best = saturation(stages)
    if best is None:
        return
    axis.axvline(best.users, color=RED, linestyle="--", linewidth=1.2)
    on_the_right = best.users > stages[len(stages) // 2].users
    axis.annotate(
        f"saturated by {best.users:,} users: {best.requests_per_second:,.0f} requests/s",
        (best.users, 0.06),
        xycoords=("data", "axes fraction"),
        xytext=(-6 if on_the_right else 6, 0),
        textcoords="offset points",
        ha="right" if on_the_right else "left",
        color=RED,
    )


def _draw_rates(axis: Axes, parts: Sequence[Sequence[Sample]]) -> None:
    ends = [part[-1] for part in parts]
    rates = [
        (
            (one.seconds + next_one.seconds) / 2,
            (next_one.requests - one.requests) / (next_one.seconds - one.seconds),
            (next_one.failures - one.failures) / (next_one.seconds - one.seconds),
        )
        for one, next_one in pairwise(ends)
    ]
    seconds, requests, failures = zip(*rates, strict=True) if rates else ((), (), ())
    axis.plot(seconds, requests, color=BLUE, label="requests/s")
    if any(failures):
        axis.plot(seconds, failures, color=RED, label="failures/s")
    axis.set_ylabel("requests/s")
    axis.set_ylim(bottom=0)
    beside = axis.twinx()
    beside.grid(visible=False)
    beside.spines["right"].set_visible(True)
    beside.step(
        [at.seconds for at in ends],
        [at.users for at in ends],
        where="post",
        color=GREY,
        linewidth=1,
        label="users",
    )
    beside.set_ylabel("users")
    beside.set_ylim(bottom=0)
    lines = axis.get_legend_handles_labels()[0] + beside.get_legend_handles_labels()[0]
    axis.legend(handles=lines, labelcolor=GREY, ncols=3, loc="lower right", bbox_to_anchor=(1, 1.0))


def _draw_percentiles(axis: Axes, parts: Sequence[Sequence[Sample]], endpoint: str) -> None:
    found = [(part[-1].seconds, together(part, endpoint)) for part in parts]
    points = [(seconds, percentiles(times)) for seconds, times in found if times]
    few = sum(times.total() for _, times in found) < FEW * len(points)
    seconds = [at for at, _ in points]
    # Where percentiles coincide, the smaller dot is on the larger one.
    for size, (percentile, colour) in zip((3, 5, 7), COLOURS.items(), strict=True):
        axis.plot(
            seconds,
            [at[percentile] for _, at in points],
            color=colour,
            label=f"p{percentile}",
            zorder=3 - size / 10,
            marker="o" if few else "",
            markersize=size,
            linestyle="none" if few else "-",
        )
    note = " (few requests)" if few else ""
    axis.set_title(f"{endpoint}{note}", loc="left", fontsize=10)
    axis.set_ylabel("ms")
    axis.set_ylim(bottom=0)
    axis.legend(ncols=3, labelcolor=GREY, loc="lower right", bbox_to_anchor=(1, 1.0))


def save(figure: Figure, path: Path) -> Path:
    """Write a figure, and close it."""
    figure.savefig(path, transparent=True, metadata={"Date": None})
    plt.close(figure)
    return path
