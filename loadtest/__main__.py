"""The command line: `python -m loadtest`, or `loadtest/run`, which sees to its packages."""

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from loadtest.databases import fresh_database, load_sample_events, versions
from loadtest.processes import (
    ROOT,
    Ended,
    OptionsError,
    RunError,
    Service,
    check_options,
    exit_on_signals,
    run_locust,
)
from loadtest.report.folder import Run, write_report
from service.database.embedded import EmbeddedDatabaseError
from service.database.migrations import DatabaseError

SCENARIOS = ROOT / "loadtest" / "scenarios"
OUTPUT = ROOT / "build" / "loadtest"
SAMPLE_DAYS = 60

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def _described(config: Path) -> str:
    """Return a scenario, and what its file says of it."""
    return f"{config.stem:8}{config.read_text().splitlines()[0].removeprefix('# ')}"


SCENARIO_LINES = [_described(config) for config in sorted(SCENARIOS.glob("*.conf"))]
HELP = f"""Load a fresh service, check that it kept every event, and leave a report.

\b
The scenarios are Locust's configuration files in loadtest/scenarios:
{chr(10).join(f"  {line}" for line in SCENARIO_LINES)}

Every other option is Locust's, and goes before what the scenario says: loadtest/run ramp --users 64
"""


@app.command(help=HELP, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def main(
    context: typer.Context,
    scenario: Annotated[str, typer.Argument(help="One of the scenarios above.")],
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            "-H",
            help="Load the service at this URL, and start none; nobody else may write.",
        ),
    ] = None,
    events: Annotated[
        int, typer.Option(min=0, help="Sample events of the last 60 days to load before.")
    ] = 0,
    output: Annotated[
        Path | None, typer.Option(help="The report's folder; else build/loadtest/…")
    ] = None,
) -> None:
    """Run one scenario; the exit status is Locust's, or that of the signal that ended it."""
    exit_on_signals()
    if host is not None and events:
        raise RunError("--events loads into a fresh database; with --host there is none.")
    config = _config(scenario)
    check_options([*_scenario_options(config), *context.args])
    folder = output or OUTPUT / f"{scenario}-{datetime.now():%Y%m%d-%H%M%S}"  # noqa: DTZ005
    folder.mkdir(parents=True, exist_ok=True)
    run = Run.begin(scenario, folder.absolute(), sample_events=events)
    run.command = shlex.join(["loadtest/run", *sys.argv[1:]])
    if host is not None:
        run.host = host.rstrip("/")
        ended = _load(run, config, context.args)
    else:
        with _fresh_service(run) as service:
            ended = _load(run, config, context.args)
        run.cpu_seconds["service"] = service.cpu_seconds
    if not run.outcome_file.exists():
        raise typer.Exit(ended.exit_code or 1)  # Locust has said why.
    if cut_short := write_report(run):
        typer.echo(f"The run was {cut_short}.")
    typer.echo(f"Report: {_shown(folder / 'index.html')}")
    raise typer.Exit(ended.exit_code)


def _config(scenario: str) -> Path:
    config = SCENARIOS / f"{scenario}.conf"
    if not config.is_file():
        known = ", ".join(path.stem for path in sorted(SCENARIOS.glob("*.conf")))
        raise RunError(f"There is no scenario {scenario}; there are {known}.")
    return config


@contextmanager
def _fresh_service(run: Run) -> Iterator[Service]:
    with fresh_database() as (url, server):
        run.database = f"{versions(url)}, on {server}"
        typer.echo(f"Database: {run.database}")
        if run.sample_events:
            typer.echo(f"Loading {run.sample_events:,} events of the last {SAMPLE_DAYS} days")
            load_sample_events(url, run.sample_events, *_last_days())
        service = Service(url, run.folder / "service.log")
        with service.running():
            run.host = service.host
            yield service


def _last_days() -> tuple[str, ...]:
    today: date = datetime.now(UTC).date()
    first, last = today - timedelta(days=SAMPLE_DAYS), today - timedelta(days=1)
    return "--start", str(first), "--end", str(last)


def _scenario_options(config: Path) -> tuple[str, str]:
    return "--config", str(config.relative_to(ROOT))


def _load(run: Run, config: Path, options: list[str]) -> Ended:
    run.arguments = [
        *(*_scenario_options(config), "--headless", "--only-summary"),
        *("--host", run.host, "--html", str(run.folder / "locust.html")),
        *("--csv", str(run.folder / "locust"), "--csv-full-history"),
        *("--outcome-file", str(run.outcome_file)),
        *options,
    ]
    started = time.monotonic()
    ended = run_locust(run.arguments)
    run.wall_seconds = time.monotonic() - started
    run.cpu_seconds["locust"] = ended.cpu_seconds
    run.exit_code = ended.exit_code
    return ended


def _shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


if __name__ == "__main__":
    try:
        app(prog_name="loadtest/run")
    except OptionsError as error:
        sys.stderr.write(f"tallymark: {error}\n")
        sys.exit(2)
    except (RunError, DatabaseError, EmbeddedDatabaseError) as error:
        sys.exit(f"tallymark: {error}")
    except subprocess.CalledProcessError:
        sys.exit("tallymark: the sample events could not be loaded; see above.")
