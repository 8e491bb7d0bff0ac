"""kill -9 under load: what was acknowledged is there, once, and the aggregates agree."""

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from service.database.embedded import EmbeddedDatabase

from .conftest import kill, value

SCHEMA = b"""
create table events (at timestamptz not null, writer int, n bigint, note text, primary key (at,
writer, n)) with (tsdb.hypertable, tsdb.partition_column = 'at', tsdb.chunk_interval = '1 hour');
create materialized view quarters with (timescaledb.continuous) as select time_bucket('15
minutes', at) as quarter, writer, count(*) as events from events group by 1, 2 with no data;
select add_continuous_aggregate_policy('quarters', null, interval '15 minutes', interval '1
second');
call remove_columnstore_policy('events', if_exists => true);
call add_columnstore_policy('events', after => interval '2 hours', schedule_interval => interval
'2 seconds')
"""
START = datetime(2025, 6, 1, tzinfo=UTC)


class Writer(threading.Thread):
    """Writes numbered rows by COPY until it is told to stop, through every interruption."""

    def __init__(self, url: str, number: int, acknowledged: int) -> None:
        super().__init__()
        self.url, self.number = url, number
        self.acknowledged = acknowledged
        self.stopping = False

    def run(self) -> None:
        while not self.stopping:
            try:
                with psycopg.connect(self.url, autocommit=True, connect_timeout=20) as connection:
                    while not self.stopping:
                        self.write(connection)
            except psycopg.OperationalError:
                time.sleep(0.05)

    def write(self, connection: psycopg.Connection[Any]) -> None:
        with connection.transaction():
            highest = "select coalesce(max(n), 0) from events where writer = %s"
            first = value(connection, highest, self.number) + 1
            assert first > self.acknowledged
            with connection.cursor().copy("copy events from stdin") as copy:
                for n in range(first, first + 200):
                    copy.write_row((START + n * timedelta(seconds=0.5), self.number, n, "x" * 50))
        self.acknowledged = first + 199


@pytest.mark.fault
def test_no_acknowledged_row_is_lost(tmp_path: Path) -> None:
    with EmbeddedDatabase(tmp_path) as database:
        with psycopg.connect(database.url, autocommit=True) as connection:
            for statement in SCHEMA.split(b";"):
                connection.execute(statement)
        acknowledged = dict.fromkeys(range(4), 0)
        for pause in (1.0, 1.7, 0.6, 2.1):
            writers = [Writer(database.url, *pair) for pair in acknowledged.items()]
            for writer in writers:
                writer.start()
            while any(writer.acknowledged == acknowledged[writer.number] for writer in writers):
                time.sleep(0.02)
            time.sleep(pause)
            kill(database)
            for writer in writers:
                writer.stopping = True
            for writer in writers:
                writer.join()
                acknowledged[writer.number] = writer.acknowledged
            check(database.url, acknowledged)


def check(url: str, acknowledged: dict[int, int]) -> None:
    with psycopg.connect(url, connect_timeout=20) as connection:
        found = connection.execute("select writer, count(*), max(n) from events group by writer")
        rows = {writer: (count, highest) for writer, count, highest in found}
        for writer, least in acknowledged.items():
            count, highest = rows.get(writer, (0, 0))
            assert count == highest >= least
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("call refresh_continuous_aggregate('quarters', null, null)")
        total = value(connection, "select count(*) from events")
        assert value(connection, "select sum(events) from quarters") == total
        connection.execute("set enable_seqscan = off")
        by_index = "select count(*) from (select at, writer, n from events order by 1, 2, 3) x"
        assert value(connection, by_index) == total


def test_a_crash_of_the_engine_is_told_and_followed_by_a_restart(tmp_path: Path) -> None:
    lines: list[str] = []
    with EmbeddedDatabase(tmp_path, durable=False, log=lines.append) as database:
        pid = database.pid
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute("create table kept as select 1 as a")
            with pytest.raises(psycopg.errors.CrashShutdown):
                connection.execute(b"select '" + b"[" * 8_000_000 + b"'::jsonb")
        with psycopg.connect(database.url, connect_timeout=20) as connection:
            assert value(connection, "select a from kept") == 1
        assert database.pid == pid
    assert lines == ["the engine has stopped and is restarted: Maximum call stack size exceeded"]
