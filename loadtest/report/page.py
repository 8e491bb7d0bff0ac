"""The page that shows a run: what it found first, then figures, plots and how it was made."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from loadtest.checks.length import cut_short_after

LOG = ', the <a href="service.log">service\'s log</a>'
TEMPLATE = Template((Path(__file__).parent / "page.html").read_text())


def render(result: dict[str, Any], plots: Sequence[Path]) -> str:
    """Return the page; it stands beside its plots."""
    return TEMPLATE.substitute(
        title=escape(f"{result['scenario']} · {result['started'][:16].replace('T', ' ')}"),
        verdict_class="passed" if result["passed"] else "failed",
        verdict=escape(_verdict(result)),
        problems="".join(f"<li>{escape(problem)}</li>" for problem in result["problems"]),
        summary=escape(_summary(result)),
        length_class="cut" if result["cut_short"] else "",
        conservation=_table(("events", "accepted", "unknown", "count moved by"), _kept(result)),
        endpoints=_table(
            ("endpoint", "requests", "failures", "p50 ms", "p95 ms", "p99 ms", "max ms"),
            _endpoints(result),
        ),
        plots="".join(_figure(path) for path in plots),
        configuration=_table((), _configuration(result)),
        log=LOG if "service" in result["cpu_seconds"] else "",
    )


def cut_short(result: dict[str, Any]) -> str | None:
    """Return how short the run was cut, in words; None where it was as long as planned."""
    totals = result["totals"]
    if not result["cut_short"]:
        return None
    return cut_short_after(totals["seconds"], totals["planned_seconds"])


def _verdict(result: dict[str, Any]) -> str:
    verdict = "Passed" if result["passed"] else "Failed"
    short = cut_short(result)
    return f"{verdict}, and {short}" if short else verdict


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
    for name in ("command", "host", "database"):
        yield name, result[name]
    yield "sample events", f"{result['sample_events']:,}"
    machine = result["machine"]
    yield (
        "machine",
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB",
    )
    yield "system", machine["system"]
    before, after = machine["load_average_before"], machine["load_average_after"]
    yield "load average", f"{before} before, {after} after; of one minute"
    yield "versions", _listed(result["versions"], "")
    yield "processor time", _listed(result["cpu_seconds"], " s")


def _listed(values: dict[str, Any], unit: str) -> str:
    return ", ".join(f"{name} {value}{unit}" for name, value in values.items())


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table>{f'<tr>{heads}</tr>' if head else ''}{body}</table>"


def _figure(path: Path) -> str:
    image = f'<img src="{escape(path.name)}" alt="{escape(path.stem.replace("-", " "))}">'
    return f'<figure class="scroll" tabindex="0">{image}</figure>'
