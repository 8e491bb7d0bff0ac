"""A run as a picture: rates, latency and memory over time, and when what went wrong."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from loadtest.bench.figures import percentile
from loadtest.checks.limits import PERCENTILES
from loadtest.report.plots import BLUE, COLOURS, GREY, RED, STYLE, save
from loadtest.report.samples import MOST_POINTS
from loadtest.soak.run import Course
from tests.support.senders import Answer

MIB = 1024 * 1024
SHADE = 0.15


def draw(course: Course, seconds: float, path: Path) -> Path:
    """Draw a run of so many seconds."""
    width = max(1.0, seconds / MOST_POINTS)
    with mpl.rc_context(STYLE):
        figure, (rates, latency, memory) = plt.subplots(
            3, 1, sharex=True, figsize=(9, 6.4), layout="constrained"
        )
        _draw_rates(rates, course.answers, width)
        _draw_latency(latency, course.answers, width)
        memory.plot(
            [at for at, _ in course.memory],
            [held / MIB for _, held in course.memory],
            color=BLUE,
        )
        memory.set_ylabel("memory, MiB")
        memory.set_ylim(bottom=0)
        for axis in (rates, latency, memory):
            _mark_faults(axis, course)
        memory.set_xlabel(
            f"seconds; each point is of {width:.0f} s. Dashed: the service was killed; dotted: its "
            "connections were cut; grey: the database was away or silent"
        )
        return save(figure, path)


def _bins(answers: Sequence[Answer], width: float) -> dict[int, list[Answer]]:
    last = int(max((answer.at for answer in answers), default=0) // width)
    found: dict[int, list[Answer]] = {number: [] for number in range(last + 1)}
    for answer in answers:
        found[int(answer.at // width)].append(answer)
    return found


def _draw_rates(axis: Axes, answers: Sequence[Answer], width: float) -> None:
    bins = _bins(answers, width)
    seconds = [(number + 0.5) * width for number in bins]
    for label, accepted, colour in (("202", True, BLUE), ("503 or no answer", False, RED)):
        events = [
            sum(one.events for one in some if (one.status == 202) == accepted) / width
            for some in bins.values()
        ]
        axis.plot(seconds, events, color=colour, label=label)
    axis.set_ylabel("events/s")
    axis.set_ylim(bottom=0)
    axis.legend(ncols=2, labelcolor=GREY, loc="lower right", bbox_to_anchor=(1, 1.0))


def _draw_latency(axis: Axes, answers: Sequence[Answer], width: float) -> None:
    accepted = [answer for answer in answers if answer.status == 202]
    bins = {number: some for number, some in _bins(accepted, width).items() if some}
    for part in PERCENTILES:
        axis.plot(
            [(number + 0.5) * width for number in bins],
            [percentile([one.seconds * 1000 for one in some], part) for some in bins.values()],
            color=COLOURS[part],
            label=f"p{part} of 202",
        )
    axis.set_ylabel("ms")
    axis.set_yscale("log")
    axis.legend(ncols=3, labelcolor=GREY, loc="lower right", bbox_to_anchor=(1, 1.0))


def _mark_faults(axis: Axes, course: Course) -> None:
    for at, fault in course.faults:
        match fault.kind:
            case "service killed":
                axis.axvline(at, color=GREY, linestyle="--", linewidth=0.8)
            case "connections cut":
                axis.axvline(at, color=GREY, linestyle=":", linewidth=0.8)
            case _:
                axis.axvspan(at, at + fault.seconds, color=GREY, alpha=SHADE, linewidth=0)
