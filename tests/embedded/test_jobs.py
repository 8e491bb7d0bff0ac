"""What PostgreSQL's background processes would do."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from service.database.embedded import EmbeddedDatabase

from .conftest import eventually, value

Connection = psycopg.Connection[Any]
TABLE = (
    b"create table events (at timestamptz not null, n int) with "
    b"(tsdb.hypertable, tsdb.partition_column = 'at', tsdb.chunk_interval = '1 day')"
)
ROWS = (
    b"insert into events select timestamptz '2025-06-01' + n * interval '1 minute', n "
    b"from generate_series(0, 9999) n"
)


@pytest.fixture
def events(connection: Connection) -> Connection:
    connection.execute(TABLE)
    connection.execute("call remove_columnstore_policy('events', if_exists => true)")
    connection.execute(ROWS)
    return connection


def test_a_refresh_policy_runs(events: Connection) -> None:
    events.execute(
        "create materialized view hourly with (timescaledb.continuous) as "
        "select time_bucket('1 hour', at) as hour, count(*) as events from events group by 1 "
        "with no data"
    )
    assert value(events, "select count(*) from hourly") == 0
    events.execute(
        "select add_continuous_aggregate_policy('hourly', null, null, interval '1 second')"
    )
    eventually(lambda: value(events, "select coalesce(sum(events), 0) from hourly") == 10_000)
    events.execute("insert into events values ('2025-06-02', 0)")
    eventually(lambda: value(events, "select sum(events) from hourly") == 10_001)


def test_a_columnstore_policy_takes_one_chunk_at_a_time(events: Connection) -> None:
    events.execute("alter table events set (timescaledb.enable_columnstore)")
    events.execute(
        "call add_columnstore_policy('events', after => interval '1 day', "
        "schedule_interval => interval '1 hour')"
    )
    compressed = "select count(*) from timescaledb_information.chunks where is_compressed"
    seen = set()

    def all_compressed() -> bool:
        seen.add(value(events, compressed))
        return 7 in seen

    eventually(all_compressed, 20)
    assert len(seen & set(range(1, 7))) >= 4
    assert value(events, "select count(*) from events") == 10_000


def test_a_failing_job_is_logged_in_one_line_and_only_once(tmp_path: Path) -> None:
    lines: list[str] = []
    with (
        EmbeddedDatabase(tmp_path, durable=False, log=lines.append) as database,
        psycopg.connect(database.url, autocommit=True) as connection,
    ):
        connection.execute("create table runs (n int)")
        for name, body in (("bad", "perform 1/0"), ("good", "insert into runs values (1)")):
            connection.execute(
                f"create procedure {name}(job_id int, config jsonb) language plpgsql "
                f"as $$ begin {body}; end $$".encode()
            )
            connection.execute("select add_job(%s::regproc, interval '1 second')", (name,))
        eventually(lambda: value(connection, "select count(*) from runs") >= 3)
    assert len(lines) == 1
    assert lines[0].startswith("job 1")
    assert "division by zero" in lines[0]


def test_a_restart_does_not_run_every_job_again(tmp_path: Path) -> None:
    with (
        EmbeddedDatabase(tmp_path, durable=False) as database,
        psycopg.connect(database.url, autocommit=True) as connection,
    ):
        connection.execute("create table runs (job_id int)")
        connection.execute(
            "create procedure run(job_id int, config jsonb) language sql "
            "as 'insert into runs values (job_id)'"
        )
        connection.execute("select add_job('run', interval '1 hour')")
        eventually(lambda: value(connection, "select count(*) from runs") == 1)
    with (
        EmbeddedDatabase(tmp_path, durable=False) as database,
        psycopg.connect(database.url, autocommit=True) as connection,
    ):
        connection.execute("select add_job('run', interval '1 hour')")
        eventually(lambda: value(connection, "select count(distinct job_id) from runs") == 2)
        assert value(connection, "select count(*) from runs") == 2


def test_wal_is_checkpointed_and_tables_are_vacuumed(tmp_path: Path) -> None:
    with (
        EmbeddedDatabase(tmp_path, durable=False) as database,
        psycopg.connect(database.url, autocommit=True) as connection,
    ):
        connection.execute("create table big (n int, note text)")
        for _ in range(6):
            connection.execute(
                "insert into big select n, repeat('x', 100) from generate_series(1, 200000) n"
            )
        wal = tmp_path / "data" / "pg_wal"
        assert sum(file.stat().st_size for file in wal.iterdir() if file.is_file()) < 200 << 20
        estimate = "select reltuples::int from pg_class where relname = 'big'"
        eventually(lambda: value(connection, estimate) > 1_000_000, 20)
