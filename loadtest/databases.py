"""A fresh database to measure on."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from service.database.embedded import EmbeddedDatabase
from service.database.migrations import migrate
from tests.support.databases import new_database

ROOT = Path(__file__).parents[1]
GENERATE_EVENTS = ROOT / "scripts" / "generate_events.py"
SETTINGS = """
select name, current_setting(name) from pg_settings
where name in ('shared_buffers', 'work_mem', 'max_wal_size', 'jit', 'synchronous_commit', 'fsync',
               'max_parallel_workers_per_gather')
order by name
"""
VERSIONS = """
select current_setting('server_version'), extversion from pg_extension where extname = 'timescaledb'
"""


@contextmanager
def fresh_database() -> Iterator[tuple[str, str]]:
    """Yield the URL of a new database with the schema, and what server it is on."""
    given = os.environ.get("DATABASE_URL")
    if given is None:
        with tempfile.TemporaryDirectory() as folder, EmbeddedDatabase(Path(folder)) as server:
            migrate(server.url)
            yield server.url, "the embedded server"
        return
    with new_database(given) as url:
        migrate(url)
        yield url, "the server of DATABASE_URL"


def load_sample_events(url: str, events: int, *options: str) -> None:
    """Load sample data and refresh the aggregates. Raises subprocess.CalledProcessError."""
    subprocess.run(  # noqa: S603 - our own script
        [sys.executable, GENERATE_EVENTS, "--events", str(events), *options],
        env=os.environ | {"DATABASE_URL": url},
        check=True,
        stdout=subprocess.DEVNULL,
    )


def versions(url: str) -> str:
    """Return what the server is."""
    with psycopg.connect(url) as connection:
        row = connection.execute(VERSIONS).fetchone()
    return "PostgreSQL {}, TimescaleDB {}".format(*(row or ("?", "?")))


def settings(url: str) -> dict[str, str]:
    """Return those settings of the server that matter to times."""
    with psycopg.connect(url) as connection:
        return dict(connection.execute(SETTINGS).fetchall())
