"""The page that shows a run: what it found first, then figures, plots and how it was made."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

TEMPLATE = Template((Path(__file__).parent / "page.html").read_text())


def render(result: dict[str, Any], plots: Sequence[Path]) -> str:
    """Return the page; it stands beside its plots."""
    return TEMPLATE.substitute(
        title=escape(f"{result['scenario']} · {result['started'][:16].replace('T', ' ')}"),
        verdict_class="passed" if result["passed"] else "failed",
        verdict="Passed" if result["passed"] else "Failed",
        problems="".join(f"<li>{escape(problem)}</li>" for problem in result["problems"]),
        summary=escape(_summary(result)),
        conservation=_table(("events", "accepted", "unknown", "count moved by"), _kept(result)),
        endpoints=_table(
            ("endpoint", "requests", "failures", "p50 ms", "p95 ms", "p99 ms", "max ms"),
            _endpoints(result),
        ),
        plots="".join(_figure(path) for path in plots),
        configuration=_table((), _configuration(result)),
    )


def _summary(result: dict[str, Any]) -> str:
    totals = result["totals"]
    said = (
        f"{totals['requests']:,} requests in {totals['seconds']:.0f} s by up to "
        f"{totals['users']:,} users: {totals['requests_per_second']:,.0f} requests/s."
    )
    if found := result.get("saturation"):
        said += (
            f" Saturated by {found['users']:,} users at "
            f"{found['requests_per_second']:,.0f} requests/s."
        )
    return f"{said} {_processor_time(result)}"


def _processor_time(result: dict[str, Any]) -> str:
    requests = max(1, result["totals"]["requests"])
    took = [
        f"{name} {seconds * 1000 / requests:.2f} ms a request ({result[f'{name}_cores']:.2f} cores)"
        for name, seconds in result["cpu_seconds"].items()
    ]
    return f"Processor time: {', '.join(took)}."


def _kept(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for line in (result["conservation"] or {"lines": ()})["lines"]:
        figures = (line["accepted"], line["unknown"], line["moved"])
        yield (line["event_type"], *(f"{figure:,}" for figure in figures))


def _endpoints(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for at in result["endpoints"]:
        counts = (f"{at['requests']:,}", f"{at['failures']:,}")
        times = (*at["percentiles"].values(), at["max_ms"])
        yield (at["name"], *counts, *(f"{milliseconds:g}" for milliseconds in times))


def _configuration(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    shown = ("command", "host", "database", "sample_events", "machine", "versions", "cpu_seconds")
    for name in shown:
        value = result[name]
        if isinstance(value, dict):
            value = ", ".join(f"{key.replace('_', ' ')} {part}" for key, part in value.items())
        yield name.replace("_", " "), str(value)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table>{f'<tr>{heads}</tr>' if head else ''}{body}</table>"


def _figure(path: Path) -> str:
    name = escape(path.name)
    return f'<figure><img src="{name}" alt="{escape(path.stem.replace("-", " "))}"></figure>'
