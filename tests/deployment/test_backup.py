"""A dump under writes, restored into a fresh database, is what was there, counts, and goes on."""

import os
import shutil
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import Connection

from service.database.backup import BackupError, back_up, restore
from service.database.embedded import EmbeddedDatabase
from service.database.migrations import migrate
from tests.counting.counts import (
    LEVELS,
    assert_exact,
    connect,
    counted,
    differing_buckets,
    fill,
    refresh_all,
    stop_jobs,
)
from tests.counting.test_same_answers import answers, fill_with_history, require_pg_dump
from tests.deployment.roles import separate_roles
from tests.embedded.conftest import eventually
from tests.support.databases import new_database
from tests.support.disks import small_disk
from tests.support.services import ROOT

ROWS = """
select event_id, md5(concat_ws('|', timestamp, site_id, user_id, event_type, payload)) from events
"""
JOBS = """
select proc_name, schedule_interval, config - 'mat_hypertable_id' - 'hypertable_id', scheduled
from timescaledb_information.jobs
where proc_schema <> 'pg_catalog' and job_id >= 1000
order by 1, 2, 3::text
"""


@pytest.fixture
def tools(connection: Connection) -> None:
    """Skip without the tools of this server's version."""
    require_pg_dump(connection)


@contextmanager
def writing(url: str) -> Iterator[None]:
    """Let somebody write, a row a transaction, and delete now and then."""
    stop = threading.Event()

    def write() -> None:
        with connect(url) as other:
            while not stop.is_set():
                other.execute(
                    "insert into events (timestamp, event_id, user_id, event_type, payload) "
                    "select now() - random() * interval '9 days', gen_random_uuid(), 'late', "
                    "'click', '{}' from generate_series(1, 7)"
                )

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def contents(connection: Connection) -> dict[object, object]:
    """Return the hash of each event."""
    return dict(connection.execute(ROWS).fetchall())


def run_command(name: str, *arguments: str, url: str) -> subprocess.CompletedProcess[str]:
    """Run what the scripts run."""
    environment = os.environ | {"DATABASE_URL": url}
    return subprocess.run(
        [ROOT / ".venv" / "bin" / "python", "-m", "service", name, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_scripts_call_the_commands() -> None:
    for name in ("backup", "restore"):
        script = ROOT / "scripts" / name
        assert script.stat().st_mode & stat.S_IXUSR
        assert script.read_text().splitlines()[-1].endswith(f'-m service {name} "$@"')


@pytest.mark.native(reason="pg_dump takes more than one session")
@pytest.mark.usefixtures("tools")
def test_a_dump_under_writes_is_restored_as_it_was(
    connection: Connection, quiet_url: str, server_url: str, tmp_path: Path
) -> None:
    fill_with_history(connection)
    connection.execute("select compress_chunk(chunk) from show_chunks('events') as chunk limit 9")
    before = contents(connection)
    identity = connection.execute("select id from database_identity").fetchone()
    dump = tmp_path / "tallymark.dump"
    with writing(quiet_url):
        done = run_command("backup", str(dump), url=quiet_url)
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(dump.stat().st_mode) == 0o600
    after = contents(connection)
    with new_database(server_url) as url:
        done = run_command("restore", str(dump), url, url=quiet_url)
        assert done.returncode == 0, done.stderr
        assert migrate(url) == []
        with connect(url) as restored:
            assert restored.execute(JOBS).fetchall() == connection.execute(JOBS).fetchall()
            stop_jobs(restored)
            found = contents(restored)
            # One moment between the two: all that was there, and nothing that was not.
            assert before.items() <= found.items() <= after.items()
            assert restored.execute("select id from database_identity").fetchone() == identity
            answers(restored)
            # A late row, and new ones, are counted.
            fill(restored, "2025-05-12 09:00:00.7+00", "2025-05-12 09:00:02+00", "0.1 seconds")
            assert counted(restored, None, None)["view"] > 0
            answers(restored)
            refresh_all(restored)
            for level in LEVELS:
                assert differing_buckets(restored, level) == []


@pytest.mark.native(reason="pg_dump takes more than one session")
@pytest.mark.usefixtures("tools")
def test_roles_and_rights_are_restored(server_url: str, tmp_path: Path) -> None:
    dump = tmp_path / "tallymark.dump"
    with new_database(server_url) as url, separate_roles(url) as roles:
        back_up(roles.owner_url, dump)
        with new_database(server_url) as fresh:
            restore(dump, fresh, as_copy=True)
            with psycopg.connect(fresh) as connection:
                owner = connection.execute(
                    "select tableowner from pg_tables where tablename = 'events'"
                ).fetchone()
                rights = connection.execute(
                    "select has_table_privilege(%(role)s, 'events', 'insert'), "
                    "has_table_privilege(%(role)s, 'events', 'delete'), "
                    "has_database_privilege(%(owner)s, current_database(), 'create')",
                    {"role": roles.service, "owner": owner[0] if owner else ""},
                ).fetchone()
                (copy,) = connection.execute("select id from database_identity").fetchone() or ()
            with psycopg.connect(url) as connection:
                (original,) = (
                    connection.execute("select id from database_identity").fetchone() or ()
                )
    assert owner is not None
    assert owner[0] in roles.owner_url
    assert rights == (True, False, True)
    assert copy != original


@pytest.mark.native(reason="pg_dump takes more than one session")
@pytest.mark.usefixtures("tools")
def test_who_may_not_is_told_who_may(server_url: str, tmp_path: Path) -> None:
    dump = tmp_path / "tallymark.dump"
    with new_database(server_url) as url, separate_roles(url) as roles:
        with pytest.raises(BackupError, match="give the owner's URL"):
            back_up(roles.service_url, dump)
        assert list(tmp_path.iterdir()) == []
        back_up(roles.owner_url, dump)
        with new_database(server_url) as fresh:
            with psycopg.connect(fresh) as connection:
                connection.execute("create extension timescaledb")
            name = fresh.rpartition("/")[2].partition("?")[0]
            theirs = f"{roles.owner_url.rpartition('/')[0]}/{name}"
            with pytest.raises(BackupError, match="give the URL of an administrator"):
                restore(dump, theirs)


@pytest.mark.native(reason="pg_dump takes more than one session")
@pytest.mark.usefixtures("tools")
def test_a_dump_that_is_cut_off_leaves_nothing(
    connection: Connection, quiet_url: str, tmp_path: Path
) -> None:
    """From another folder, as by cron; and pg_dump waits for a lock, so that it can be cut off."""
    waits = "select count(*) from pg_stat_activity where application_name = 'pg_dump'"
    with connection.transaction():
        connection.execute("lock table events in access exclusive mode")
        process = subprocess.Popen(
            [ROOT / "scripts" / "backup", "some.dump"],
            cwd=tmp_path,
            env=os.environ | {"DATABASE_URL": quiet_url},
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            eventually(lambda: any(tmp_path.glob("some.dump.*.part")), 60)
            process.terminate()
            _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "The backup was cut off" in said
    assert list(tmp_path.iterdir()) == []
    eventually(lambda: connection.execute(waits).fetchone() == (0,), 60)


@pytest.mark.native(reason="pg_dump takes more than one session")
@pytest.mark.usefixtures("tools")
def test_a_full_disk_leaves_nothing(connection: Connection, quiet_url: str, tmp_path: Path) -> None:
    fill_with_history(connection)
    with small_disk(tmp_path / "disk", "size=64k") as disk:
        with pytest.raises(BackupError, match="No space left on device"):
            back_up(quiet_url, disk / "some.dump")
        assert list(disk.iterdir()) == []


@pytest.mark.native(reason="pg_dump takes more than one session")
@pytest.mark.usefixtures("tools")
def test_what_can_not_be_done_is_said_in_a_line(
    quiet_url: str, server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = tmp_path / "tallymark.dump"
    back_up(quiet_url, dump)
    with pytest.raises(BackupError, match="is there already"):
        back_up(quiet_url, dump)
    with pytest.raises(BackupError, match="can't be written"):
        back_up(quiet_url, tmp_path / "none" / "tallymark.dump")
    with pytest.raises(BackupError, match="is not empty"):
        restore(dump, quiet_url)
    with pytest.raises(BackupError, match="There is no file"):
        restore(tmp_path / "none", quiet_url)
    (tmp_path / "text").write_text("not a dump")
    with pytest.raises(BackupError, match=r"^pg_restore failed: .*\.$"):
        restore(tmp_path / "text", quiet_url)
    assert list(tmp_path.glob("*.part")) == []
    old = tmp_path / "bin"
    old.mkdir()
    for name in ("pg_dump", "pg_restore"):
        (old / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) 9.6.24'\n")
        (old / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(old), prepend=os.pathsep)
    with pytest.raises(BackupError, match=r"9\.6\.24 is older than the server, PostgreSQL \d+: in"):
        back_up(quiet_url, tmp_path / "other")
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        new_database(server_url) as url,
        pytest.raises(BackupError, match="There is no pg_restore"),
    ):
        restore(dump, url)


@pytest.mark.native(reason="pg_dump takes more than one session")
@pytest.mark.usefixtures("tools")
def test_another_version_of_timescaledb_is_told(
    quiet_url: str, server_url: str, tmp_path: Path
) -> None:
    with connect(quiet_url) as connection:
        connection.execute(
            "update _timescaledb_catalog.metadata set value = '2.0.0' "
            "where key = 'timescaledb_version'"
        )
    dump = tmp_path / "tallymark.dump"
    back_up(quiet_url, dump)
    with (
        new_database(server_url) as url,
        pytest.raises(BackupError, match=r"is of TimescaleDB 2\.0\.0, which this server can't"),
    ):
        restore(dump, url)


def test_the_embedded_server_is_backed_up_by_a_copy_of_its_folder(
    tmp_path: Path, native: bool
) -> None:
    if native:
        pytest.skip("of the embedded server")
    with EmbeddedDatabase(tmp_path / "data") as server:
        migrate(server.url)
        with connect(server.url) as connection:
            stop_jobs(connection)
            fill_with_history(connection)
            before = answers(connection), contents(connection)
        with pytest.raises(BackupError, match="copy its folder"):
            back_up(server.url, tmp_path / "dump")
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    with EmbeddedDatabase(tmp_path / "copy") as copy, connect(copy.url) as connection:
        assert (answers(connection), contents(connection)) == before
        fill(connection, "2025-05-12 09:00:00.7+00", "2025-05-12 09:00:02+00", "0.1 seconds")
        assert_exact(connection)
