"""The main job in one command: a database, its schema, sample data, and the service."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import typer
from psycopg.conninfo import conninfo_to_dict

from service.database import docker
from service.database.embedded import EmbeddedDatabase
from service.database.migrations import preparing
from service.database.preparation import prepare
from service.logs import configure_logging
from service.server import bind, exit_on_signals
from service.settings import load_settings
from service.workers import serve

ROOT = Path(__file__).parents[1]
EMBEDDED_DATA = ROOT / ".data" / "embedded"
# Where retention let events go there were some.
IS_EMPTY = "select not exists (select from events) and retained_from() = '-infinity'"
GENERATE_EVENTS = ROOT / "scripts" / "generate_events.py"


class RunError(Exception):
    """The main job can't be done; the text is one plain line that says what to do."""


def run(
    *,
    port: int | None,
    workers: int | None,
    database: str | None,
    sample_data: bool,
    fresh: bool,
) -> None:
    """Serve until Ctrl-C or SIGTERM, then stop what was started here, and nothing else.

    Raises RunError, and what the parts raise: one plain line each.
    """
    exit_on_signals()
    with ExitStack() as stack:
        settings = load_settings(
            port=port, workers=workers, database_url="postgresql://not-known-yet"
        )
        settings.require_guard()
        configure_logging(settings)
        listener = stack.enter_context(bind(settings.host, settings.port))
        url = stack.enter_context(find_database(database, fresh=fresh))
        settings = load_settings(port=port, workers=workers, database_url=url)
        for name in prepare(url, settings.retention_days):
            typer.echo(f"Applied {name}")
        # Where days are let go, those of the sample would go at once.
        if sample_data and settings.retention_days is None and _is_empty(url):
            _load_sample_data(url)
        serve(settings, listener, ready=lambda: _announce(listener, url, settings.keys_required))


@contextmanager
def find_database(wanted: str | None, *, fresh: bool) -> Iterator[str]:
    """Yield the URL of a database: of DATABASE_URL, Docker's, or the embedded one."""
    given = os.environ.get("DATABASE_URL") if wanted is None else wanted
    if given == "docker" or (given is None and not fresh and docker.answers()):
        typer.echo("Database: TimescaleDB in Docker (docker compose)")
        with docker.database(fresh=fresh) as url:
            yield url
    elif given in (None, "embedded"):
        typer.echo("Database: the embedded TimescaleDB (for trying and developing; see README.md)")
        with _embedded(fresh=fresh) as url:
            yield url
    elif fresh:
        raise RunError("--fresh deletes no data of a database that it was given the URL of.")
    else:
        typer.echo(f"Database: {_without_password(given)}")
        yield given


@contextmanager
def _embedded(*, fresh: bool) -> Iterator[str]:
    database = EmbeddedDatabase(EMBEDDED_DATA, log=lambda line: typer.echo(f"database: {line}"))
    if fresh:
        database.delete()
    # What was not stored yet belongs to this database, and goes when its data do.
    os.environ.setdefault("SPOOL_DIRECTORY", str(EMBEDDED_DATA / "spool"))
    database.start()
    try:
        yield database.url
    finally:
        # A signal is an exception here.
        database.stop()
        typer.echo(f"Stopped; the data are in {EMBEDDED_DATA.relative_to(ROOT)}")


def _is_empty(url: str) -> bool:
    with preparing(url, "Looking for events") as connection:
        row = connection.execute(IS_EMPTY).fetchone()
    return row == (True,)


def _load_sample_data(url: str) -> None:
    typer.echo("Loading sample data, 1 to 29 May 2025 (--no-sample-data leaves it out)")
    # By the environment: a password in an argument is seen by everybody on the machine.
    environment = os.environ | {"DATABASE_URL": url}
    command = [sys.executable, str(GENERATE_EVENTS)]
    # What it prints to verify the data is for who calls it by hand.
    done = subprocess.run(  # noqa: S603 - our own script
        command, env=environment, stdout=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        raise RunError("The sample data could not be loaded; see above.")


def _announce(listener: socket.socket, url: str, keys_required: bool | None) -> None:
    host, port = listener.getsockname()[:2]
    # All addresses are no address to go to.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    base = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    show_key, show_read_key = (
        (f" -H 'Authorization: Bearer {kind}'" if keys_required else "")
        for kind in ("WRITE_KEY", "READ_KEY")
    )
    typer.echo(f"""
Tallymark is ready; Ctrl-C ends it.
  Dashboard  {base}/dashboard/
  API        {base}/docs
  Demo       {base}/demo/
  Database   {_without_password(url)}

Send an event, and count:
  curl -X POST {base}/events{show_key} -H 'Content-Type: application/json' \\
    -d '{{"user_id": "me", "event_type": "view", "payload": {{"url": "https://example.com/"}}}}'
  curl '{base}/analytics/event-counts-by-type?start_date=2025-05-01'{show_read_key}
""")


def _without_password(url: str) -> str:
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        parts = {}
    if not url.startswith(("postgresql://", "postgres://")) or not parts:
        raise RunError(
            "The database is embedded, docker, or a URL like "
            "postgresql://user:password@127.0.0.1:5432/name (--database, or DATABASE_URL)."
        )
    host, port = parts.get("host", "localhost"), parts.get("port", 5432)
    return f"postgresql://{parts.get('user', '')}@{host}:{port}/{parts.get('dbname', '')}"
