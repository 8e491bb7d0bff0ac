"""Starts beside others: they wait for a lock, say so, give up, and are stopped, all in time."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psycopg
import pytest

from service.database.migrations import LOCK_KEY, migrate
from tests.embedded.conftest import eventually
from tests.support.proxy import Proxy
from tests.support.services import ROOT, ServiceProcess, wait_until_replayed

pytestmark = pytest.mark.fault

STOP_SECONDS = 30
Hindrance = Callable[[str], AbstractContextManager[object]]
SLOW = """
alter table schema_migrations rename to migrations;
create view schema_migrations as select migrations.* from migrations, pg_sleep(120)
"""
"""Lets a migration's statement take long."""


@contextmanager
def locked(url: str) -> Iterator[int]:
    """Hold the lock of the migrations; yield the process that does."""
    with psycopg.connect(url) as other:
        other.execute("select pg_advisory_xact_lock(%s)", [LOCK_KEY])
        yield other.info.backend_pid


@contextmanager
def slow(url: str) -> Iterator[None]:
    """Let a migration take long."""
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(SLOW.encode())
    yield


def under_way(url: str, statement: str) -> int:
    """Return how many sessions are in the middle of a statement."""
    query = """
        select count(*) from pg_stat_activity
        where datname = current_database() and state = 'active' and query like %s
          and pid <> pg_backend_pid()
    """
    with psycopg.connect(url) as connection:
        row = connection.execute(query, [f"%{statement}%"]).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.native(reason="another session holds a lock")
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("hindered", "statement"), [(locked, "pg_advisory"), (slow, "name, checksum from")]
)
def test_a_stop_does_not_wait_for_a_migration_behind(
    database_url: str, tmp_path: Path, workers: str, hindered: Hindrance, statement: str
) -> None:
    with Proxy(database_url) as proxy, hindered(database_url):
        proxy.refuse()
        service = ServiceProcess(proxy.url, tmp_path / "log", WORKERS=workers)
        with service.running():
            proxy.pass_on()
            eventually(lambda: under_way(database_url, statement) > 0, 20)
            assert service.terminate(STOP_SECONDS) == 0
        # What it leaves there ends, too, and nothing of it stays.
        eventually(lambda: under_way(database_url, statement) == 0, 20)


@pytest.mark.native(reason="another session holds a lock")
@pytest.mark.parametrize(
    ("hindered", "statement"), [(locked, "pg_advisory"), (slow, "name, checksum from")]
)
def test_a_start_is_stopped_while_it_migrates(
    database_url: str, hindered: Hindrance, statement: str
) -> None:
    with hindered(database_url):
        with start(database_url, "serve") as process:
            eventually(lambda: under_way(database_url, statement) > 0, 20)
            process.terminate()
            _, said = process.communicate(timeout=STOP_SECONDS)
        assert process.returncode == 0
        assert "Traceback" not in said
        eventually(lambda: under_way(database_url, statement) == 0, 20)


@contextmanager
def start(url: str, *arguments: str, patience: float = 60) -> Iterator[subprocess.Popen[str]]:
    """Start the command line, with less patience than it has; it has ended afterwards."""
    program = (
        f"from service.database import locks; locks.PATIENCE_SECONDS = {patience}; "
        "from service.__main__ import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url, "PORT": "0", "LOG_FORMAT": "json"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.native(reason="another session holds a lock")
@pytest.mark.parametrize(
    "arguments", [["serve"], ["migrate"], ["run", "--no-sample-data"]], ids=lambda one: one[0]
)
def test_a_start_says_what_it_waits_for_and_gives_up(
    database_url: str, arguments: list[str]
) -> None:
    # As long as several attempts, each of which may be late.
    with locked(database_url) as pid, start(database_url, *arguments, patience=12) as process:
        _, said = process.communicate(timeout=90)
    assert process.returncode == 1
    waits, gives_up = said.splitlines()
    assert "waits for a lock" in waits
    assert gives_up.startswith("tallymark: ")
    assert "within 12 seconds" in gives_up
    for line in (waits, gives_up):
        assert "The migration 0001_events.sql" in line
        assert f"process {pid}" in line
    assert f"pg_terminate_backend({pid})" in gives_up


@pytest.mark.native(reason="another session holds a lock")
def test_a_start_goes_on_once_the_lock_is_free(database_url: str) -> None:
    with start(database_url, "migrate") as process:
        with locked(database_url):
            assert process.stderr is not None
            assert "waits for a lock" in process.stderr.readline()
        said, errors = process.communicate(timeout=60)
    assert (process.returncode, said, errors) == (0, "The schema is current.\n", "")


@pytest.mark.parametrize(
    "at", ["pg_available_extensions", "pg_advisory", "schedule_retention", "schema_dashboards"]
)
def test_a_connection_cut_while_it_prepares_is_a_database_that_is_away(
    database_url: str, tmp_path: Path, at: str
) -> None:
    log = tmp_path / "log"
    with Proxy(database_url) as proxy:
        proxy.cut_at(re.compile(at.encode()))
        service = ServiceProcess(proxy.url, log, LOG_FORMAT="json")
        with service.running():
            wait_until_replayed(service.base_url)
            eventually(lambda: "database is prepared" in log.read_text(), 20)
            assert service.terminate(STOP_SECONDS) == 0
    assert proxy.cuts == 1
    assert "events are kept on the disk" in log.read_text()
    assert migrate(database_url) == []
