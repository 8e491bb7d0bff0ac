"""Starting, stopping, being killed, and what is said when it can't start."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from service.database import embedded
from service.database.embedded import EmbeddedDatabase, EmbeddedDatabaseError

from .conftest import alive, eventually, kill, value

SCHEMA = b"""
create table events (at timestamptz not null, kind int, n bigint, primary key (at, n)) with
(tsdb.hypertable, tsdb.partition_column = 'at', tsdb.chunk_interval = '1 day');
create materialized view hourly with (timescaledb.continuous) as select time_bucket('1 hour',
at) as hour, kind, count(*) as events from events group by 1, 2 with no data;
create materialized view daily with (timescaledb.continuous) as select time_bucket('1 day',
hour) as day, kind, sum(events) as events from hourly group by 1, 2 with no data;
insert into events select timestamptz '2025-06-01' + n * interval '1 minute', n % 3, n from
generate_series(1, 10000) n;
call refresh_continuous_aggregate('hourly', null, null);
call refresh_continuous_aggregate('daily', null, null);
alter table events set (timescaledb.enable_columnstore, timescaledb.segmentby = 'kind',
timescaledb.orderby = 'at');
select compress_chunk(chunk) from show_chunks('events', older_than => timestamptz '2025-06-05')
chunk
"""


ENDED = "the embedded database has ended unexpectedly"


def connected(database: EmbeddedDatabase) -> psycopg.Connection[Any]:
    return psycopg.connect(database.url, autocommit=True, connect_timeout=20)


def test_reopening_keeps_hypertables_aggregates_and_columnstore(tmp_path: Path) -> None:
    with EmbeddedDatabase(tmp_path) as database, connected(database) as connection:
        for statement in SCHEMA.split(b";"):
            connection.execute(statement)
    with EmbeddedDatabase(tmp_path) as database, connected(database) as connection:
        assert value(connection, "select sum(events) from daily") == 10_000
        assert value(connection, "select count(*), max(n) from events") == 10_000
        compressed = (
            "select count(*) from timescaledb_information.chunks "
            "where is_compressed and hypertable_name = 'events'"
        )
        assert value(connection, compressed) == 4
        connection.execute("insert into events values ('2025-06-01 12:00:01+00', 1, -1)")
        connection.execute("call refresh_continuous_aggregate('hourly', null, null)")
        assert value(connection, "select sum(events) from hourly") == 10_001


def test_the_process_is_started_again_on_the_same_port(tmp_path: Path) -> None:
    lines: list[str] = []
    with EmbeddedDatabase(tmp_path, durable=False, log=lines.append) as database:
        url, pid = database.url, database.pid
        with connected(database) as connection:
            connection.execute("create table kept as select 1 as a")
        kill(database)
        started = time.monotonic()
        with connected(database) as connection:  # waits, and is not refused
            assert value(connection, "select a from kept") == 1
        assert time.monotonic() - started < 10
        assert database.url == url
        assert database.pid != pid
    assert lines == [f"{ENDED} (signal 9) and is started again"]


def test_it_is_started_again_however_often_it_is_killed(tmp_path: Path) -> None:
    lines: list[str] = []
    with EmbeddedDatabase(tmp_path, durable=False, log=lines.append) as database:
        pid = database.pid
        for _ in range(4):
            os.kill(pid, signal.SIGKILL)  # The later ones before it is ready.
            eventually(lambda: (tmp_path / "lock").read_text() != f"{pid}\n", 30)  # noqa: B023
            pid = int((tmp_path / "lock").read_text())
        with connected(database) as connection:
            assert value(connection, "select 1") == 1
    assert lines == [f"{ENDED} (signal 9) and is started again"] * 4


def test_what_does_not_start_is_said_and_tried_until_it_does(tmp_path: Path) -> None:
    lines: list[str] = []
    with EmbeddedDatabase(tmp_path, durable=False, log=lines.append) as database:
        control = tmp_path / "data" / "global" / "pg_control"
        kept = control.read_bytes()
        control.write_bytes(bytes(len(kept)))
        kill(database)
        eventually(lambda: any("does not start" in line for line in lines), 60)
        control.write_bytes(kept)
        with connected(database) as connection:
            assert value(connection, "select 1") == 1
    (advice,) = [line for line in lines if "does not start" in line]
    assert "remove it to begin anew" in advice


def test_stop_cuts_off_clients_and_rolls_back(tmp_path: Path) -> None:
    database = EmbeddedDatabase(tmp_path, durable=False)
    database.start()
    pid = database.pid
    with connected(database) as connection:
        connection.execute("create table kept (a int)")
        connection.execute("begin")
        connection.execute("insert into kept values (1)")
        started = time.monotonic()
        database.stop()
        assert time.monotonic() - started < 5
        assert not alive(pid)
        with pytest.raises(psycopg.errors.AdminShutdown):
            connection.execute("select 1")
    database.start()
    with connected(database) as connection:
        assert value(connection, "select count(*) from kept") == 0
    database.stop()
    database.stop()


def test_stop_ends_a_running_statement(tmp_path: Path) -> None:
    with EmbeddedDatabase(tmp_path, durable=False) as database:
        connection = connected(database)
        connection.pgconn.send_query(b"select count(*) from generate_series(1, 500000000)")
        connection.pgconn.flush()
        time.sleep(0.2)
        started = time.monotonic()
    assert time.monotonic() - started < 5
    connection.close()


def test_a_directory_in_use_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "LOCK_WAIT_SECONDS", 0.2)
    with EmbeddedDatabase(tmp_path, durable=False) as database:
        program = (
            "import sys; from pathlib import Path; from service.database import embedded\n"
            "embedded.LOCK_WAIT_SECONDS = 0.2\n"
            f"sys.exit(embedded.serve(Path({str(tmp_path)!r}), 0, False))"
        )
        refused = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30
        )
        assert refused.returncode == 1
        assert refused.stdout == ""
        assert refused.stderr.count("\n") == 1
        assert f"in use by another process (pid {database.pid})" in refused.stderr
        with pytest.raises(EmbeddedDatabaseError, match="in use"):
            EmbeddedDatabase(tmp_path).start()


def test_a_start_waits_for_a_former_process_that_is_ending(tmp_path: Path) -> None:
    former = EmbeddedDatabase(tmp_path, durable=False)
    former.start()
    threading.Timer(0.5, former.stop).start()
    with EmbeddedDatabase(tmp_path, durable=False) as database, connected(database) as connection:
        assert value(connection, "select 1") == 1


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(EmbeddedDatabaseError, match=rf"port {port} .* another port"):
            EmbeddedDatabase(tmp_path, port=port).start()


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(total=100, used=99, free=1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(EmbeddedDatabaseError, match="disk is full"):
        EmbeddedDatabase(tmp_path).start()


def test_a_broken_directory_is_said_and_left_as_it_is(tmp_path: Path) -> None:
    with EmbeddedDatabase(tmp_path, durable=False):
        pass
    control = tmp_path / "data" / "global" / "pg_control"
    control.write_bytes(bytes(len(control.read_bytes())))
    with pytest.raises(
        EmbeddedDatabaseError, match=r"does not start: .*; put back a copy"
    ) as raised:
        EmbeddedDatabase(tmp_path, durable=False).start()
    assert "\n" not in str(raised.value)
    assert control.exists()


def test_a_half_made_database_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "data.new" / "base").mkdir(parents=True)
    (tmp_path / "data.new" / "PG_VERSION").write_text("17\n")
    with EmbeddedDatabase(tmp_path, durable=False) as database, connected(database) as connection:
        assert value(connection, "select 1") == 1
    assert not (tmp_path / "data.new").exists()


def test_the_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from service.database.embedded import serve\n"
        f"sys.exit(serve(Path({str(tmp_path)!r}), 0, False))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().startswith(b"DATABASE_URL=postgresql://postgres@127.0.0.1:")
        pid = int((tmp_path / "lock").read_text())
        assert alive(pid)
        parent.kill()
        eventually(lambda: not alive(pid))
    with EmbeddedDatabase(tmp_path, durable=False):
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_with_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    program = (
        "import sys; from pathlib import Path; from service.database.embedded import serve\n"
        f"sys.exit(serve(Path({str(tmp_path)!r}), 0, False))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as served:
        assert served.stdout is not None
        served.stdout.readline()
        os.kill(served.pid, number)
        assert served.wait(10) == 0


def test_installing_again_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    embedded.install()

    def refuse(*arguments: object, **options: object) -> None:
        pytest.fail("npm was started")

    monkeypatch.setattr(subprocess, "run", refuse)
    embedded.install()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("npm error code ENOTFOUND", "can't be reached"),
        ("npm error code ECONNREFUSED", "can't be reached"),
        ("npm error ENOSPC: no space left on device", "disk is full"),
        ("npm error code EINTEGRITY\nnpm error sha512", "npm said: npm error code EINTEGRITY"),
    ],
)
def test_a_failed_installation_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, message: str
) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(embedded.PROGRAM / name, tmp_path)
    monkeypatch.setattr(embedded, "PROGRAM", tmp_path)
    failed = subprocess.CompletedProcess([], 1, "", said)
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: failed)
    with pytest.raises(EmbeddedDatabaseError, match=message) as raised:
        embedded.install()
    assert "\n" not in str(raised.value)


def test_two_installations_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(embedded.PROGRAM / name, tmp_path)
    monkeypatch.setattr(embedded, "PROGRAM", tmp_path)
    runs: list[Path] = []

    def npm(arguments: list[str], *, cwd: Path, **options: object) -> Any:
        runs.append(cwd)
        (cwd / "node_modules").mkdir()
        return subprocess.CompletedProcess(arguments, 0, "", "")

    monkeypatch.setattr(subprocess, "run", npm)
    threads = [threading.Thread(target=embedded.install) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 1
    assert (tmp_path / "node_modules" / ".tallymark-lock").exists()
