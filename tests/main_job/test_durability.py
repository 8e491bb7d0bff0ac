"""What the database's settings do to a 202: a warning, and commits that are durable anyway."""

import asyncio
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from structlog.testing import capture_logs

from service.database.checks import warn_of_losses
from service.database.connections import connect
from tests.support.services import ServiceProcess


def value_of(url: str, setting: str) -> str:
    """Return the setting of a new session."""
    with psycopg.connect(url) as connection:
        row = connection.execute("select current_setting(%s)", [setting]).fetchone()
    assert row is not None
    return str(row[0])


def warnings(url: str) -> set[str]:
    """Return what is warned of."""
    with capture_logs() as entries:
        warn_of_losses(url)
    assert all(entry["log_level"] == "warning" and entry["remedy"] for entry in entries)
    return {entry["event"] for entry in entries}


@pytest.fixture
def careless_url(empty_database_url: str) -> str:
    """A database whose sessions don't wait for the disk."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("alter database {} set synchronous_commit = off").format(name))
    return empty_database_url


@pytest.mark.native(reason="the embedded server has no settings of a database")
def test_commits_that_do_not_wait_are_warned_of(careless_url: str) -> None:
    assert "synchronous_commit is off" in warnings(careless_url)


def test_what_is_off_is_warned_of_and_nothing_else(empty_database_url: str) -> None:
    settings = ("fsync", "synchronous_commit")
    off = {f"{name} is off" for name in settings if value_of(empty_database_url, name) == "off"}
    assert warnings(empty_database_url) == off


@pytest.mark.native(reason="the embedded server has no settings of a database")
def test_a_start_warns_once_however_many_workers(careless_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    service = ServiceProcess(careless_url, log, WORKERS="2")
    service.start()
    assert service.terminate() == 0
    assert log.read_text().count("synchronous_commit is off") == 1


def value_of_ours(url: str, **server_settings: str) -> str:
    """Return synchronous_commit of a connection of the service's."""

    async def value() -> str:
        connecting = connect(url, statement_timeout_seconds=5, **server_settings)
        async with await connecting as connection:
            cursor = await connection.execute("show synchronous_commit")
            row = await cursor.fetchone()
        assert row is not None
        return str(row[0])

    return asyncio.run(value())


@pytest.mark.parametrize(
    ("default", "expected"),
    [
        ("off", "on"),
        *[(value, value) for value in ("on", "local", "remote_write", "remote_apply")],
    ],
)
def test_a_connection_waits_for_the_disk(
    empty_database_url: str, default: str, expected: str
) -> None:
    assert value_of_ours(empty_database_url, synchronous_commit=default) == expected


@pytest.mark.native(reason="the embedded server has no settings of a database")
def test_a_connection_waits_for_the_disk_by_the_databases_default(careless_url: str) -> None:
    assert value_of(careless_url, "synchronous_commit") == "off"
    assert value_of_ours(careless_url) == "on"
