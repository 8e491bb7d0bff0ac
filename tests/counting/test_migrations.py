"""Migrations: each is applied once, whole or not at all, on a server that can do what is needed."""

import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import LiteralString, cast

import psycopg
import pytest
from psycopg import Connection

from service.database.dashboards import load_dashboards
from service.database.migrations import (
    MIGRATIONS,
    DatabaseError,
    check_server,
    load_migrations,
    migrate,
)
from service.server import bind
from tests.support.databases import url_of

ROOT = Path(__file__).parents[2]
NAMES = [migration.name for migration in load_migrations()]
VIEWS = f"{len(load_dashboards())} of the views in sql/dashboards"
INSTANCES = 20


def test_instances_that_start_together_apply_each_migration_once(empty_database_url: str) -> None:
    together = threading.Barrier(INSTANCES)

    def start() -> list[str]:
        together.wait()
        return migrate(empty_database_url)

    with ThreadPoolExecutor(INSTANCES) as pool:
        instances = [pool.submit(start) for _ in range(INSTANCES)]
    applied = [name for instance in instances for name in instance.result()]
    assert sorted(applied) == [*NAMES, VIEWS]
    assert recorded(empty_database_url) == NAMES


def test_processes_that_start_together_all_succeed(empty_database_url: str) -> None:
    processes = [command(empty_database_url) for _ in range(4)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0], outputs
    lines = sorted(line for output, _ in outputs for line in output.splitlines())
    assert [line for line in lines if line.startswith("applied")] == [
        f"applied {name}" for name in [*NAMES, VIEWS]
    ]


@pytest.mark.native(reason="looks at another session's statement")
@pytest.mark.fault
def test_a_migration_that_is_killed_leaves_nothing_half(
    empty_database_url: str, tmp_path: Path
) -> None:
    folder = with_more(tmp_path, "create table half (); select pg_sleep(3);")
    program = "import sys, pathlib; from service.database.migrations import migrate; "
    program += "migrate(sys.argv[1], pathlib.Path(sys.argv[2]))"
    arguments = [sys.executable, "-c", program, empty_database_url, str(folder)]
    process = subprocess.Popen(arguments, cwd=ROOT)
    wait_for_sleep(empty_database_url)
    process.kill()
    process.wait()
    assert recorded(empty_database_url) == NAMES
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        assert connection.execute("select to_regclass('half')").fetchone() == (None,)
    assert migrate(empty_database_url, folder) == ["0099_more.sql", VIEWS]


def test_a_migration_that_fails_leaves_nothing_half(
    empty_database_url: str, tmp_path: Path
) -> None:
    folder = with_more(tmp_path, "create table half (); select 1/0;")
    with pytest.raises(DatabaseError) as refused:
        migrate(empty_database_url, folder)
    assert_plain(str(refused.value), "division by zero")
    assert recorded(empty_database_url) == NAMES
    (folder / "0099_more.sql").write_text("create table half ();")
    assert migrate(empty_database_url, folder) == ["0099_more.sql", VIEWS]


@pytest.mark.native(reason="another session holds a lock")
def test_a_migration_that_waits_lets_others_pass_and_is_done_once_it_can(
    database_url: str, tmp_path: Path
) -> None:
    folder = with_more(tmp_path, "alter table events add column note text;")
    with ThreadPoolExecutor(1) as pool:
        with psycopg.connect(database_url) as other:
            other.execute("select count(*) from events")
            migrating = pool.submit(migrate, database_url, folder)
            wait_for_lock(database_url)
            # Whoever wants the table stands behind the migration, but for one try only.
            with psycopg.connect(database_url, options="-c lock_timeout=30s") as another:
                another.execute("select count(*) from events")
            assert not migrating.done()
        assert migrating.result(60) == ["0099_more.sql"]


def test_an_edited_migration_is_refused_once_it_was_applied(
    empty_database_url: str, tmp_path: Path
) -> None:
    folder = with_more(tmp_path, "select 1;")
    migrate(empty_database_url, folder)
    (folder / "0099_more.sql").write_text("select 2;")
    with pytest.raises(DatabaseError) as refused:
        migrate(empty_database_url, folder)
    assert_plain(str(refused.value), "0099_more.sql")


def test_migrating_again_changes_nothing(database_url: str) -> None:
    assert migrate(database_url) == []
    assert recorded(database_url) == NAMES


def test_the_command_says_in_one_line_that_a_migration_was_edited(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("update schema_migrations set checksum = 'another' where version = 2")
    assert_refused(database_url, "0002_event_counts.sql was applied to this database in another")


def test_the_command_says_in_one_line_that_nothing_listens() -> None:
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    assert_refused(f"postgresql://postgres:hush@127.0.0.1:{port}/postgres", "can't be reached")


@pytest.mark.native(reason="the embedded server has one database and one role")
def test_the_command_says_in_one_line_that_there_is_no_such_database(server_url: str) -> None:
    assert_refused(url_of(server_url, "tallymark_nowhere"), "does not exist")


@pytest.mark.native(reason="the embedded server has one database and one role")
def test_the_command_says_in_one_line_that_the_role_is_refused(server_url: str) -> None:
    url = url_of(server_url, "postgres").replace("://postgres", "://tallymark_nobody", 1)
    assert_refused(url, "tallymark_nobody")


def test_postgresql_without_the_extension_is_refused() -> None:
    assert_unfit(fake_server(), "no TimescaleDB")


def test_an_old_postgresql_is_refused() -> None:
    assert_unfit(fake_server("2.29.2", postgresql=160004), "This is PostgreSQL 16;")


@pytest.mark.parametrize("version", ["2.26.2", "2.22.1", "2.24.0", "1.7.5"])
def test_an_old_timescaledb_is_refused(version: str) -> None:
    assert_unfit(fake_server(version), f"This is TimescaleDB {version};")


def test_the_apache_edition_is_refused() -> None:
    assert_unfit(fake_server("2.29.2", licence="apache"), "Apache edition")


@pytest.mark.parametrize("version", ["2.26.3", "2.31.0", "2.30.0-dev", "3.0.0"])
def test_a_server_that_can_do_it_is_accepted(version: str) -> None:
    check_server(fake_server(version))
    # Before the extension is created, the licence is not known; the migration then tells.
    check_server(fake_server(version, licence=None))


def test_only_the_embedded_server_may_be_older() -> None:
    check_server(fake_server("2.23.0-dev", compiler="emcc"))
    with pytest.raises(DatabaseError, match=r"2\.23\.1"):
        check_server(fake_server("2.23.1"))


def with_more(tmp_path: Path, statements: str) -> Path:
    """Return a folder of all migrations and one more."""
    folder = shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    (folder / "0099_more.sql").write_text(statements)
    return folder


def recorded(url: str) -> list[str]:
    """Return the names of the migrations that a database has."""
    with psycopg.connect(url, autocommit=True) as connection:
        query = "select name from schema_migrations order by version"
        return [name for (name,) in connection.execute(query).fetchall()]


def wait_for_sleep(url: str) -> None:
    """Wait until a session of a database is in the middle of its migration."""
    wait_for(url, "wait_event = 'PgSleep'")


def wait_for_lock(url: str) -> None:
    """Wait until a session of a database waits for a lock."""
    wait_for(url, "wait_event_type = 'Lock'")


def wait_for(url: str, condition: LiteralString) -> None:
    """Wait until another session of a database is like that."""
    query: LiteralString = (
        "select from pg_stat_activity where datname = current_database() "
        "and pid <> pg_backend_pid() and "
    ) + condition
    deadline = time.monotonic() + 60
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute(query).fetchone() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def command(url: str) -> subprocess.Popen[str]:
    """Start `python -m service migrate`."""
    return subprocess.Popen(
        [sys.executable, "-m", "service", "migrate"],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_refused(url: str, reason: str) -> None:
    """Fail unless the command says in one line why it can't, and its status tells so."""
    process = command(url)
    output, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert output == ""
    assert error.startswith("tallymark: ")
    assert_plain(error.removesuffix("\n"), reason)


def assert_unfit(server: Connection, reason: str) -> None:
    """Fail unless a server is refused for a reason."""
    with pytest.raises(DatabaseError) as refused:
        check_server(server)
    assert_plain(str(refused.value), reason)


def assert_plain(text: str, reason: str) -> None:
    """Fail unless a text is one line that says why, and tells no secret."""
    assert reason in text
    assert "\n" not in text
    assert "Traceback" not in text
    assert "hush" not in text


def fake_server(
    timescaledb: str | None = None,
    *,
    licence: str | None = "timescale",
    postgresql: int = 180001,
    compiler: str = "gcc",
) -> Connection:
    """Return what stands in for a connection to a server that can't be had here."""

    def execute(query: str) -> SimpleNamespace:
        row: tuple[str | None] | None = None if timescaledb is None else (timescaledb,)
        if "license" in query:
            row = (licence,)
        elif "version()" in query:
            row = (f"PostgreSQL, compiled by {compiler}",)
        return SimpleNamespace(fetchone=lambda: row)

    info = SimpleNamespace(server_version=postgresql)
    return cast("Connection", SimpleNamespace(info=info, execute=execute))
