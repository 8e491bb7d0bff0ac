"""`python -m service doctor`: what is wrong is found, with a remedy; all is well elsewhere."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection, sql

from service.database.retention import set_retention
from service.doctor import Finding, Status, examine, jobs, server
from service.ingest.spool.held import new_folder
from service.ingest.spool.records import encode
from service.settings import Settings
from tests.counting.counts import refresh_all
from tests.dashboards.roles import temporary_role
from tests.deployment.roles import as_role, separate_roles
from tests.embedded.conftest import eventually
from tests.support.events import make_event
from tests.support.services import ROOT

native = pytest.mark.native(reason="the embedded server has one role, and settings of its own")


def found(url: str, spool: Path, **settings: Any) -> list[Finding]:
    """Return what is not well."""
    given = {"database_url": url, "spool_directory": spool} | settings
    findings = examine(Settings.model_validate(given))
    for finding in findings:
        assert finding.found
        assert (finding.status is Status.OK) == (finding.remedy == ""), finding
    return [finding for finding in findings if finding.status is not Status.OK]


def one(url: str, spool: Path, check: str, status: Status, text: str, **settings: Any) -> Finding:
    """See that a check has found this, and return it."""
    findings = found(url, spool, **settings)
    chosen = [one for one in findings if one.check == check and text in one.found]
    assert [finding.status for finding in chosen] == [status], findings
    return chosen[0]


def doctor(url: str, spool: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "service", "doctor", *options],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url, "SPOOL_DIRECTORY": str(spool)},
        capture_output=True,
        text=True,
        check=False,
    )


# The whole


@native
def test_a_sound_set_up_has_nothing_wrong(empty_database_url: str, tmp_path: Path) -> None:
    with separate_roles(empty_database_url) as roles:
        with psycopg.connect(roles.service_url) as connection:
            # A server for tests need not write to its disk.
            is_careless = connection.execute("show fsync").fetchone() == ("off",)
        done = doctor(roles.service_url, tmp_path / "spool", "--json")
        findings = json.loads(done.stdout)
    wrong = {finding["check"] for finding in findings if finding["status"] == "wrong"}
    assert wrong == ({"fsync"} if is_careless else set()), done.stdout
    assert done.returncode == (1 if is_careless else 0)
    checks = {finding["check"] for finding in findings}
    assert {"version", "migrations", "role", "jobs", "freshness", "clock", "spool"} <= checks
    assert not (tmp_path / "spool").exists(), "it changes nothing"


def test_what_is_wrong_is_the_exit_status(tmp_path: Path) -> None:
    done = doctor("postgresql://127.0.0.1:1/none", tmp_path)
    assert done.returncode == 1
    assert "can't be reached" in " ".join(done.stdout.split())
    assert "wrong" in done.stdout
    assert done.stderr == ""


def test_a_replica_that_is_away_is_told(database_url: str, tmp_path: Path) -> None:
    away = "postgresql://127.0.0.1:1/none"
    finding = one(
        database_url, tmp_path, "replica", Status.WRONG, "DATABASE_READ_URL", database_read_url=away
    )
    assert "Counts are not answered" in finding.remedy


def test_the_embedded_server_is_for_trying(
    connection: Connection, database_url: str, tmp_path: Path, native: bool
) -> None:
    if native:
        pytest.skip("of the embedded server")
    (finding,) = found(database_url, tmp_path)
    assert (finding.check, finding.status) == ("version", Status.WARNING)
    assert "embedded" in finding.found


# The schema, and rights


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """A connection to a database that is as it should be."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def test_migrations(connection: Connection, database_url: str, tmp_path: Path) -> None:
    def of(status: Status, text: str) -> Finding:
        return one(database_url, tmp_path, "migrations", status, text)

    connection.execute("insert into schema_migrations values (9999, 'later', 'x')")
    assert "update this one" in of(Status.WARNING, "is at 9999").remedy
    connection.execute("delete from schema_migrations where version in (9999, 14)")
    assert "migrate" in of(Status.WRONG, "1 missing, first 0014_roles.sql").remedy
    connection.execute("update schema_migrations set checksum = 'x' where version = 3")
    of(Status.WRONG, "0003_counting.sql was applied to this database in another form")


def test_an_empty_database(empty_database_url: str, tmp_path: Path) -> None:
    findings = found(empty_database_url, tmp_path)
    assert "missing, first 0001_events.sql" in str(findings)
    # What can't be said of it yet is not said.
    schema = {"role", "roles", "jobs", "workers", "freshness", "retention"}
    assert schema.isdisjoint(finding.check for finding in findings)


@native
def test_roles(database_url: str, connection: Connection, tmp_path: Path) -> None:
    one(database_url, tmp_path, "role", Status.WARNING, "is a superuser")
    with temporary_role(connection, "login password 'hush'") as role:
        url = as_role(database_url, role)
        finding = one(url, tmp_path, "role", Status.WRONG, "may not store or read")
        assert f'grant tallymark_service to "{role}"' in finding.remedy


def test_retention(database_url: str, tmp_path: Path) -> None:
    set_retention(database_url, 30)
    finding = one(database_url, tmp_path, "retention", Status.WARNING, "says for ever")
    assert "migrate --with-retention" in finding.remedy
    assert "retention" not in {x.check for x in found(database_url, tmp_path, retention_days=30)}
    set_retention(database_url, None)


# The server


@native
@pytest.mark.parametrize(
    ("name", "value"), [("synchronous_commit", "off"), ("timezone", "Europe/Berlin")]
)
def test_settings_of_the_database(
    connection: Connection, database_url: str, tmp_path: Path, name: str, value: str
) -> None:
    database = sql.Identifier(connection.info.dbname)
    setting = sql.SQL("alter database {} set {} = {}")
    connection.execute(setting.format(database, sql.Identifier(name), sql.Literal(value)))
    one(database_url, tmp_path, name, Status.WARNING, value)


@native
def test_settings_of_the_server(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of others is not ours to change: the limits are."""
    monkeypatch.setattr(server, "LEAST_LOCKS", 10**9)
    monkeypatch.setattr(server, "LEAST_BUFFERS", 10**15)
    for name in ("max_locks_per_transaction", "shared_buffers"):
        assert "restart" in one(database_url, tmp_path, name, Status.WARNING, "").remedy


def test_connections(database_url: str, tmp_path: Path) -> None:
    settings = {"workers": 64, "read_connections": 100}
    one(database_url, tmp_path, "connections", Status.WRONG, "are needed (WORKERS=64)", **settings)


@pytest.mark.parametrize(
    ("seconds", "status"), [(-5, Status.WARNING), (90, Status.WRONG), (-86400, Status.WRONG)]
)
def test_the_clock(
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    status: Status,
) -> None:
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + seconds)
    assert "chrony" in one(database_url, tmp_path, "clock", status, "apart").remedy


# Jobs


@native
def test_jobs(connection: Connection, database_url: str, tmp_path: Path) -> None:
    def of(status: Status, text: str) -> Finding:
        return one(database_url, tmp_path, "jobs", status, text)

    (paused,) = connection.execute(
        "select job_id from timescaledb_information.jobs where proc_name ~ 'columnstore|compress' "
        "and hypertable_name = 'events'"
    ).fetchone() or (0,)
    connection.execute("select alter_job(%s, scheduled => false)", [paused])
    assert f"alter_job({paused}" in of(Status.WARNING, f"Job {paused} (").remedy
    connection.execute("select remove_continuous_aggregate_policy('users_daily')")
    of(Status.WRONG, "Nothing refreshes users_daily")
    connection.execute(
        "create procedure fail(job_id integer, config jsonb) language plpgsql "
        "as $$ begin raise 'of a test'; end $$"
    )
    (failing,) = connection.execute("select add_job('fail', '1 hour')").fetchone() or (0,)
    failed = (
        "select last_run_status from timescaledb_information.job_stats where job_id = %s "
        "and last_run_status = 'Failed'"
    )
    eventually(lambda: connection.execute(failed, [failing]).fetchone() is not None, 120)
    assert "service ops jobs" in of(Status.WRONG, f"Job {failing} (fail) failed").remedy
    # That TimescaleDB's makers can't be told of this server harms nothing.
    connection.execute(
        "update _timescaledb_catalog.bgw_job set proc_name = 'policy_telemetry' where id = %s",
        [failing],
    )
    assert str(failing) not in str(found(database_url, tmp_path))


@native
def test_jobs_that_nobody_starts(quiet_url: str, tmp_path: Path) -> None:
    with psycopg.connect(quiet_url, autocommit=True) as connection:
        connection.execute(
            "select alter_job(job_id, scheduled => true, next_start => now() - interval '1 hour') "
            "from timescaledb_information.jobs where hypertable_name = 'users_daily'"
        )
    finding = one(quiet_url, tmp_path, "jobs", Status.WRONG, "does not begin")
    assert "start_background_workers" in finding.remedy


@native
def test_workers(connection: Connection, database_url: str, tmp_path: Path) -> None:
    connection.execute(
        "create procedure nothing(job_id integer, config jsonb) language sql as $$ select 1 $$"
    )
    connection.execute("select add_job('nothing', '1 day') from generate_series(1, 40)")
    finding = one(database_url, tmp_path, "workers", Status.WARNING, "jobs, of")
    assert "max_background_workers" in finding.remedy


def test_freshness(
    connection: Connection,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection.execute(
        "insert into events (timestamp, event_id, user_id, event_type, payload) "
        "values (now() - interval '2 days', gen_random_uuid(), 'x', 'view', '{}')"
    )
    refresh_all(connection)
    for width in jobs.MOST_BEHIND:
        monkeypatch.setitem(jobs.MOST_BEHIND, width, 0.0)
    finding = one(database_url, tmp_path, "freshness", Status.WARNING, "event_counts_daily is ")
    assert "service refresh" in finding.remedy


# The spool


def test_the_spool(connection: Connection, database_url: str, tmp_path: Path) -> None:
    def of(status: Status, text: str, **settings: Any) -> Finding:
        return one(database_url, tmp_path, "spool", status, text, **settings)

    assert "spool" not in {finding.check for finding in found(database_url, tmp_path)}
    folder = new_folder(tmp_path)
    (folder.path / "1.events").write_bytes(encode([make_event()]))
    of(Status.WARNING, "Events wait there")
    (folder.path / "1.events").rename(folder.path / "1.damaged")
    of(Status.WARNING, "Damaged files: 1")
    folder.bind("another")
    of(Status.WARNING, "Folders of another database: 1")
    of(Status.WARNING, "MiB free, of", spool_bytes=10**15)
    of(Status.WARNING, "There is none", spool_bytes=0)
    folder.release()
    file = tmp_path / "file"
    file.touch()
    one(database_url, file / "spool", "spool", Status.WRONG, "can't be written to")
