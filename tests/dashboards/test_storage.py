"""Sizes, columns and the forecast, on chunks that the test makes."""

from datetime import UTC, datetime, timedelta

import pytest
from psycopg import Connection

from tests.counting.counts import fill, refresh
from tests.dashboards.rows import matching, only_row, rows


def today() -> datetime:
    """Return the start of this day."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def fill_days(connection: Connection, first: int, last: int, every: str = "1 minute") -> None:
    """Insert events on days that are so many days ago, the last one included."""
    start, end = today() - timedelta(days=first), today() - timedelta(days=last - 1, microseconds=1)
    fill(connection, str(start), str(min(end, datetime.now(UTC))), every)


def convert(connection: Connection, chunks_older_than: timedelta) -> None:
    """Make chunks columns, as the policy does."""
    query = "select compress_chunk(chunk) from show_chunks('events', older_than => %s) as chunk"
    connection.execute(query, [chunks_older_than])


def test_a_chunk_that_waits_to_become_columns(connection: Connection) -> None:
    fill_days(connection, 10, 10)
    fill_days(connection, 2, 1)
    waiting = only_row(connection, "columnstore", hypertable="events")
    assert (waiting["chunks"], waiting["converted"], waiting["waiting"]) == (3, 0, 1)
    assert (waiting["why"], waiting["status"]) == ("its policy is paused", "warning")
    assert waiting["due_after"] == timedelta(days=8)
    (chunk,) = (row for row in matching(connection, "chunks", form="rows") if row["due_since"])
    assert chunk["range_start"] == today() - timedelta(days=10)
    assert chunk["total_bytes"] == waiting["waiting_bytes"]

    convert(connection, timedelta(days=8))
    converted = only_row(connection, "columnstore", hypertable="events")
    assert (converted["converted"], converted["waiting"]) == (1, 0)
    assert (converted["why"], converted["status"]) == (None, "ok")
    assert converted["row_bytes"] > converted["column_bytes"]
    assert converted["ratio"] > 1
    assert only_row(connection, "chunks", form="columns")["row_bytes"] == converted["row_bytes"]


def test_a_chunk_that_is_written_after_it_became_columns_waits_again(
    connection: Connection,
) -> None:
    fill_days(connection, 10, 10)
    convert(connection, timedelta(days=8))
    fill_days(connection, 10, 10, every="1 hour")
    assert only_row(connection, "chunks", form="both")["due_since"] is not None
    assert only_row(connection, "columnstore", hypertable="events")["waiting"] == 1


@pytest.mark.native(reason="the embedded server's timer does not wait")
def test_a_policy_that_runs_takes_what_waits(connection: Connection) -> None:
    fill_days(connection, 10, 10)
    job = resume_policy(connection)
    waiting = only_row(connection, "columnstore", hypertable="events")
    assert (waiting["waiting"], waiting["status"]) == (1, "ok")
    assert waiting["why"] == "the next run takes it"
    connection.execute("call run_job(%s)", [job])
    assert only_row(connection, "columnstore", hypertable="events")["waiting"] == 0


def resume_policy(connection: Connection) -> int:
    """Let the columnstore's policy count as one that runs, once in a blue moon."""
    job = only_row(connection, "jobs", job="compression", on_table="events")
    assert job["status"] == "warning", "it was paused"
    resume = "select alter_job(%s, scheduled => true, next_start => 'infinity')"
    connection.execute(resume, [job["job_id"]])
    assert only_row(connection, "jobs", job_id=job["job_id"])["status"] == "ok"
    return int(job["job_id"])


def test_sizes_are_those_of_timescaledb(connection: Connection) -> None:
    fill_days(connection, 12, 0)
    convert(connection, timedelta(days=8))
    row = only_row(connection, "hypertables", hypertable="events")
    # The hypertable itself, which stays empty, is no chunk.
    query = "select hypertable_size('events') - pg_total_relation_size('events')"
    assert connection.execute(query).fetchone() == (row["total_bytes"],)
    assert row["table_bytes"] + row["index_bytes"] + row["toast_bytes"] == row["total_bytes"]
    assert (row["chunks"], row["first_chunk_starts"]) == (13, today() - timedelta(days=12))
    assert only_row(connection, "hypertables", hypertable="ingest_minutes")["chunks"] == 0


def test_rows_are_estimated_once_they_were_looked_at(connection: Connection) -> None:
    with connection.transaction():  # So that autovacuum can't have looked at them.
        fill_days(connection, 2, 1)
        assert only_row(connection, "hypertables", hypertable="events")["row_estimate"] is None
    empty = only_row(connection, "hypertables", hypertable="ingest_minutes")
    assert empty["row_estimate"] == 0
    connection.execute("analyze events")
    events = only_row(connection, "hypertables", hypertable="events")
    assert events["row_estimate"] == 2 * 1440


def test_what_the_server_does_not_count_is_not_zero(connection: Connection, native: bool) -> None:
    if native:
        pytest.skip("this server counts")
    fill_days(connection, 2, 1)
    for row in rows(connection, "index_use"):
        assert (row["scans"], row["rows_read"], row["status"]) == (None, None, None)
    for row in rows(connection, "cache_hits"):
        assert (row["table_hits"], row["index_reads"], row["table_percent"]) == (None, None, None)


def test_the_forecast_grows_by_what_a_day_adds(connection: Connection) -> None:
    fill_days(connection, 9, 0)
    row = only_row(connection, "disk_forecast", hypertable="events")
    days = [chunk["total_bytes"] for chunk in matching(connection, "chunks", hypertable="events")]
    assert row["bytes_now"] == sum(days)
    assert row["bytes_a_day"] == pytest.approx(max(days), rel=0.3)
    for ahead in (30, 90, 365):
        grown = row["bytes_now"] + ahead * row["bytes_a_day"]
        assert row[f"bytes_{ahead}_days"] == pytest.approx(grown, abs=ahead)
        assert row[f"bytes_{ahead}_days_as_rows"] == row[f"bytes_{ahead}_days"]


def test_the_forecast_counts_on_columns(connection: Connection) -> None:
    fill_days(connection, 12, 1)
    convert(connection, timedelta(days=8))
    resume_policy(connection)
    row = only_row(connection, "disk_forecast", hypertable="events")
    ratio = float(only_row(connection, "columnstore", hypertable="events")["ratio"])
    per_day = row["bytes_a_day"]
    added = row["bytes_365_days"] - row["bytes_90_days"]
    assert added == pytest.approx(275 * per_day / ratio, rel=0.05)
    added = row["bytes_365_days_as_rows"] - row["bytes_90_days_as_rows"]
    assert added == pytest.approx(275 * per_day, rel=0.001)


@pytest.mark.parametrize(
    "retention",
    [
        "schedule_retention('60 days')",
        "add_retention_policy('events', interval '60 days', initial_start => '2100-01-01')",
    ],
)
def test_the_forecast_drops_what_retention_does(connection: Connection, retention: str) -> None:
    connection.execute(f"select {retention}".encode())
    fill_days(connection, 9, 0)
    refresh(connection, "event_counts_minute")
    row = only_row(connection, "disk_forecast", hypertable="events")
    assert row["bytes_90_days"] == row["bytes_365_days"]
    assert row["bytes_90_days"] == pytest.approx(60 * row["bytes_a_day"], abs=60)
    assert row["bytes_30_days"] == pytest.approx(row["bytes_now"] + 30 * row["bytes_a_day"], abs=60)
    counts = only_row(connection, "disk_forecast", hypertable="event_counts_minute")
    assert counts["bytes_365_days"] > counts["bytes_90_days"] > counts["bytes_now"]


def test_the_forecast_of_all_is_the_sum(connection: Connection) -> None:
    fill_days(connection, 3, 0)
    whole, *parts = rows(connection, "disk_forecast")
    assert whole["hypertable"] == "(all)"
    for column in ("bytes_now", "bytes_30_days", "bytes_365_days_as_rows"):
        assert whole[column] == pytest.approx(sum(part[column] for part in parts), abs=10)


def test_many_chunks_are_counted_and_none_stays_locked(connection: Connection) -> None:
    fill_days(connection, 399, 0, every="1 day")
    with connection.transaction():
        assert only_row(connection, "hypertables", hypertable="events")["chunks"] == 400
        assert len(matching(connection, "chunks", hypertable="events")) == 400
        assert len(matching(connection, "index_use", hypertable="events")) == 2
        assert len(matching(connection, "cache_hits", hypertable="events")) == 1
        assert len(matching(connection, "disk_forecast", hypertable="events")) == 1
        locked = """
            select count(*) from pg_locks
            where pid = pg_backend_pid() and relation::regclass::text like '%\\_hyper\\_%'
        """
        assert connection.execute(locked).fetchall() == [(0,)]
