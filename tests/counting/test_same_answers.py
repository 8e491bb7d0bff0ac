"""The same questions get the same answers, whatever is done to a database between them."""

import re
import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg import Connection

from service.database.embedded import EmbeddedDatabase
from service.database.migrations import migrate
from tests.counting.counts import (
    LEVELS,
    assert_exact,
    connect,
    counted,
    fill,
    raw,
    refresh,
    refresh_all,
    repeatable_read,
    stop_jobs,
)
from tests.support.databases import new_database

RANGES = [
    (None, None),
    ("2025-05-03", "2025-05-28"),
    ("2025-05-03 04:15+00", "2025-05-28 18:45+00"),
    ("2025-05-03 04:17+00", "2025-05-28 18:44+00"),
    ("2025-05-03 04:17:00.000001+00", "2025-05-28 18:44:31.234567+00"),
    ("2025-05-12 09:00:00.5+00", "2025-05-12 09:00:01.5+00"),
    (None, "2025-05-12 09:00:00.5+00"),
    ("2025-05-12 09:00:00.5+00", None),
]
ANSWERS = """
select event_counts_over_time.*
from unnest(array['hour', 'day', 'week', 'month']) as width
cross join unnest(array['UTC', 'Asia/Kathmandu']) as zone
cross join lateral event_counts_over_time(
    width, '2025-05-03 04:17:00.5Z', '2025-05-28 18:44Z', zone
)
order by width, zone, 1, 2
"""


def fill_with_history(connection: Connection) -> None:
    """A month of events, refreshed in part and to different ends, with late ones since then."""
    fill(connection, "2025-05-01", "2025-05-30 12:00", "13 minutes 7.123456 seconds")
    refresh(connection, LEVELS[0], None, "2025-05-29")
    refresh(connection, LEVELS[1], None, "2025-05-27")
    refresh(connection, LEVELS[2], "2025-05-04", "2025-05-20")
    fill(connection, "2025-05-12 09:00:00.7+00", "2025-05-12 09:00:02+00", "0.1 seconds")
    connection.execute(
        "delete from events where timestamp < '2025-05-03 12:00Z' and random() < 0.5"
    )
    connection.execute(
        "update events set event_type = 'click' "
        "where timestamp between '2025-05-18Z' and '2025-05-18 02:00Z'"
    )


def answers(connection: Connection) -> list[object]:
    """Return the answers to all questions; the counts have been compared with the raw COUNT."""
    for start, end in RANGES:
        assert_exact(connection, start, end)
    return [
        *(counted(connection, start, end) for start, end in RANGES),
        connection.execute(ANSWERS).fetchall(),
    ]


def test_conversion_to_columnstore_and_back_changes_no_answer(connection: Connection) -> None:
    fill_with_history(connection)
    before = answers(connection)
    connection.execute("select compress_chunk(chunk) from show_chunks('events') as chunk")
    assert answers(connection) == before
    refresh_all(connection)
    assert answers(connection) == before
    connection.execute("select decompress_chunk(chunk) from show_chunks('events') as chunk")
    assert answers(connection) == before


def test_a_plan_that_is_kept_gives_the_same_answers(quiet_url: str) -> None:
    """Statements of the service are prepared; what they stand on changes under them."""
    insert = "insert into events values ('{}', gen_random_uuid(), 1, 'u', 'location', '{{}}')"
    changes = (
        insert.format("2025-05-12 09:00:01Z"),
        "analyze",
        "select compress_chunk(chunk) from show_chunks('events') as chunk",
        insert.format("2031-01-01Z"),
        "call refresh_continuous_aggregate('event_counts_minute', null, null)",
        "call refresh_continuous_aggregate('event_counts_quarter_hour', null, null)",
        "call refresh_continuous_aggregate('event_counts_daily', null, null)",
        "delete from events where timestamp < '2025-05-12Z'",
        "select drop_chunks('events', older_than => timestamptz '2025-05-11Z')",
    )
    with connect(quiet_url) as connection, connect(quiet_url) as other:
        connection.prepare_threshold = 0
        fill_with_history(connection)
        for change in changes:
            other.execute(change)
            for start, end in RANGES * 2:
                truth = raw(other, start, end)
                assert counted(connection, start, end) == truth, change
                with repeatable_read(connection):
                    assert counted(connection, start, end) == truth


def test_a_restart_changes_no_answer(tmp_path: Path, native: bool) -> None:
    if native:
        pytest.skip("a server that was given is not ours to restart")
    server = EmbeddedDatabase(tmp_path / "data")
    with server:
        migrate(server.url)
        with connect(server.url) as connection:
            stop_jobs(connection)
            fill_with_history(connection)
            before = answers(connection)
    with EmbeddedDatabase(tmp_path / "data") as again, connect(again.url) as connection:
        assert answers(connection) == before


@pytest.mark.native(reason="pg_dump takes more than one session")
def test_dump_and_restore_change_no_answer(
    connection: Connection, quiet_url: str, server_url: str, tmp_path: Path
) -> None:
    require_pg_dump(connection)
    fill_with_history(connection)
    connection.execute("select compress_chunk(chunk) from show_chunks('events') as chunk limit 9")
    before = answers(connection)
    dump = tmp_path / "events.dump"
    run("pg_dump", "--format=custom", f"--file={dump}", quiet_url)
    with new_database(server_url) as url:
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("create extension timescaledb")
            other.execute("select timescaledb_pre_restore()")
        run("pg_restore", "--no-owner", f"--dbname={url}", str(dump))
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("select timescaledb_post_restore()")
        assert migrate(url) == []
        with connect(url) as restored:
            stop_jobs(restored)
            assert answers(restored) == before
            fill(restored, "2025-05-12 09:00:00.7+00", "2025-05-12 09:00:02+00", "0.1 seconds")
            answers(restored)
            refresh_all(restored)
            answers(restored)


def run(*command: str) -> None:
    """Run a program. Fails with what it says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def require_pg_dump(connection: Connection) -> None:
    """Skip unless there is a pg_dump that knows this server."""
    if shutil.which("pg_dump") is None:
        pytest.skip("there is no pg_dump here")
    done = subprocess.run(["pg_dump", "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"\d+", done.stdout)
    if found is None or int(found[0]) < connection.info.server_version // 10_000:
        pytest.skip("this pg_dump is older than the server")
