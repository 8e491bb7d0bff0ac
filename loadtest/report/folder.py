"""The folder that a run leaves: result.json, plots, and a page that shows them together."""

import json
import os
import platform
import shlex
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from loadtest.report import page, plots
from loadtest.report.samples import Sample
from loadtest.report.saturation import saturation, stages
from service import __version__

PACKAGES = ("locust", "geventhttpclient", "uvicorn", "starlette", "psycopg")


@dataclass
class Run:
    """What is known of a run, beside what Locust found."""

    scenario: str
    folder: Path
    sample_events: int
    started: datetime
    load_average_before: float
    database: str = "that of a service which was running already"
    host: str = ""
    command: str = ""
    """What the operator typed."""
    arguments: list[str] = field(default_factory=list)
    """Locust's."""
    exit_code: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    """Of Locust, and of the service where it was started here; their starts included."""

    @classmethod
    def begin(cls, scenario: str, folder: Path, *, sample_events: int) -> Self:
        """Return a run that begins now."""
        return cls(scenario, folder, sample_events, datetime.now(UTC), os.getloadavg()[0])

    @property
    def outcome_file(self) -> Path:
        """Where Locust writes what it found."""
        return self.folder / "outcome.json"


def write_report(run: Run) -> str | None:
    """Write result.json, the plots and index.html, from what Locust left.

    Returns how short the run was cut; None where it was as long as planned.
    """
    outcome = json.loads(run.outcome_file.read_text())
    samples = [_sample(sample) for sample in outcome.pop("samples")]
    result = _configuration(run) | _totals(outcome, samples) | outcome
    shown = []
    if len(samples) > 1:
        busiest = max(outcome["endpoints"], key=lambda at: at["requests"], default={"name": ""})
        found = stages(samples, busiest["name"])
        result |= _saturation(found)
        shown.append(plots.over_time(samples, run.folder / "load-over-time.svg"))
        if len(found) > 2:
            shown.append(plots.over_users(found, busiest["name"], run.folder / "load-by-users.svg"))
    (run.folder / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    (run.folder / "index.html").write_text(page.render(result, shown))
    return page.cut_short(result)


def _sample(sample: dict[str, Any]) -> Sample:
    times = {
        endpoint: {int(milliseconds): requests for milliseconds, requests in latest.items()}
        for endpoint, latest in sample["times"].items()
    }
    return Sample(**sample | {"times": times})


def _configuration(run: Run) -> dict[str, Any]:
    cores = {
        f"{name}_cores": round(seconds / run.wall_seconds, 2)
        for name, seconds in run.cpu_seconds.items()
    }
    return {
        "scenario": run.scenario,
        "started": run.started.isoformat(timespec="seconds"),
        "command": run.command,
        "locust_command": shlex.join(["locust", *run.arguments]),
        "host": run.host,
        "database": run.database,
        "sample_events": run.sample_events,
        "versions": {
            "tallymark": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
        "machine": _machine() | {"load_average_before": round(run.load_average_before, 2)},
        "exit_code": run.exit_code,
        "wall_seconds": round(run.wall_seconds, 1),
        "cpu_seconds": {name: round(seconds, 1) for name, seconds in run.cpu_seconds.items()},
        **cores,
    }


def _machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "load_average_after": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _totals(outcome: dict[str, Any], samples: list[Sample]) -> dict[str, Any]:
    endpoints, seconds = outcome["endpoints"], outcome.pop("seconds")
    requests = sum(endpoint["requests"] for endpoint in endpoints)
    return {
        "totals": {
            "seconds": seconds,
            "planned_seconds": outcome.pop("planned_seconds"),
            "users": max((sample.users for sample in samples), default=0),
            "requests": requests,
            "failures": sum(endpoint["failures"] for endpoint in endpoints),
            "requests_per_second": round(requests / seconds, 1) if seconds else 0.0,
        }
    }


def _saturation(found: Any) -> dict[str, Any]:
    best = saturation(found)
    if len(found) < 3 or best is None:
        return {}
    return {
        "saturation": {
            "users": best.users,
            "requests_per_second": round(best.requests_per_second, 1),
        },
        "stages": [
            {
                "users": stage.users,
                "requests_per_second": round(stage.requests_per_second, 1),
                **{f"p{name}_ms": ms for name, ms in stage.percentiles.items()},
            }
            for stage in found
        ],
    }
