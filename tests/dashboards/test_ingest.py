"""What was ingested, what the aggregates have taken in, and whether the jobs run."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import Connection

from tests.counting.breakdowns import BREAKDOWN_LEVELS
from tests.counting.breakdowns import refresh_all as refresh_breakdowns
from tests.counting.counts import INSERT, LEVELS, refresh, refresh_all
from tests.dashboards.roles import rights_of
from tests.dashboards.rows import Row, awaited_row, matching, only_row, rows

TRUE_COUNTS = """
select date_bin('1 minute', timestamp, 'epoch') as minute, event_type::text, count(*)
from events group by 1, 2 order by 1 desc, min(events.event_type)
"""


@pytest.fixture
def minute() -> datetime:
    """The start of a minute in the middle of the last hour."""
    return datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=30)


def insert(connection: Connection, *moments: datetime, site: int = 1) -> None:
    """Insert a click at each moment, and a view at the first."""
    types = ["click"] * len(moments) + ["view"]
    connection.execute(INSERT, [[*moments, moments[0]], [site] * len(types), types])


def test_the_rate_is_exact_whatever_is_refreshed(connection: Connection, minute: datetime) -> None:
    minutes = [minute + timedelta(minutes=n, seconds=n) for n in range(20)]
    insert(connection, *minutes)
    assert_true(connection)
    refresh(connection, "event_counts_minute", end=minute + timedelta(minutes=10))
    assert_true(connection)
    insert(connection, *minutes[5:15], site=2)
    assert_true(connection)
    refresh(connection, "event_counts_minute")
    connection.execute("delete from events where site_id = 2")
    assert_true(connection)


def assert_true(connection: Connection) -> None:
    """Fail unless both dashboards say what the events do."""
    true = connection.execute(TRUE_COUNTS).fetchall()
    by_type = rows(connection, "events_by_type")
    assert [(row["minute"], row["event_type"], row["events"]) for row in by_type] == true
    sums: dict[datetime, int] = {}
    for minute, _, count in true:
        sums[minute] = sums.get(minute, 0) + count
    assert {row["minute"]: row["events"] for row in rows(connection, "ingest_rate")} == sums


def test_the_rate_is_by_the_second(connection: Connection, minute: datetime) -> None:
    insert(connection, *(minute + timedelta(seconds=n / 10) for n in range(299)))
    assert only_row(connection, "ingest_rate", minute=minute)["per_second"] == 5
    click = only_row(connection, "events_by_type", event_type="click")
    assert float(click["percent"]) == 99.7


def test_latency_is_what_instances_report(connection: Connection, minute: datetime) -> None:
    report = """
        insert into ingest_minutes (minute, instance, events, flushes, not_stored, p95_ms)
        values (%s, %s, 100, 40, %s, %s)
    """
    connection.execute(report, [minute, "fine", 0, 12])
    connection.execute(report, [minute, "lossy", 1, 12])
    connection.execute(report, [minute, "slow", 0, 1200])
    connection.execute(report, [minute - timedelta(hours=2), "long ago", 0, 12])
    found = {row["instance"]: row["status"] for row in rows(connection, "ingest_latency")}
    assert found == {"fine": "ok", "lossy": "warning", "slow": "warning"}
    assert only_row(connection, "ingest_latency", instance="fine")["events_a_flush"] == 2.5


@pytest.mark.native(reason="a policy of the embedded server may have run")
def test_an_aggregate_that_was_never_refreshed(connection: Connection) -> None:
    for aggregate in (*LEVELS, *BREAKDOWN_LEVELS):
        row = only_row(connection, "freshness", aggregate=aggregate)
        assert (row["complete_until"], row["behind"], row["stale_buckets"]) == (None, None, 0)


def test_a_stale_bucket(connection: Connection, minute: datetime) -> None:
    # A refresh by hand passes over days without a chunk.
    insert(connection, *(minute - timedelta(days=days) for days in range(4)))
    refresh_every_level(connection)
    fresh = only_row(connection, "freshness", aggregate="event_counts_minute")
    assert (fresh["stale_ranges"], fresh["stale_buckets"], fresh["oldest_stale"]) == (0, 0, None)
    assert fresh["complete_until"] > minute
    assert timedelta() < fresh["behind"] <= datetime.now(UTC) - minute

    late = minute - timedelta(days=2)
    quarter_hour = late - timedelta(minutes=late.minute % 15)
    of_events = {
        level: (1, quarter_hour) for level in BREAKDOWN_LEVELS if level.endswith("_quarter_hour")
    }
    insert(connection, late + timedelta(seconds=7))
    assert stale(connection) == of_events | {"event_counts_minute": (1, late)}
    refresh(connection, "event_counts_minute")
    assert stale(connection) == of_events | {"event_counts_quarter_hour": (1, quarter_hour)}
    refresh_every_level(connection)
    assert stale(connection) == {}


def refresh_every_level(connection: Connection) -> None:
    """Refresh every aggregate, the finer ones first."""
    refresh_all(connection)
    refresh_breakdowns(connection)


def stale(connection: Connection) -> dict[str, tuple[int, datetime]]:
    """Return how many buckets are stale in each aggregate, and the first of them."""
    return {
        row["aggregate"]: (row["stale_buckets"], row["oldest_stale"])
        for row in rows(connection, "freshness")
        if row["stale_ranges"]
    }


def test_an_aggregate_that_nothing_refreshes_is_a_warning(
    connection: Connection, minute: datetime
) -> None:
    insert(connection, minute)
    refresh_every_level(connection)
    found = {row["aggregate"]: row["status"] for row in rows(connection, "freshness")}
    assert found == dict.fromkeys([*LEVELS, *BREAKDOWN_LEVELS], "warning")


@pytest.mark.native(reason="a policy of the embedded server can't be kept from running")
def test_an_aggregate_that_falls_behind_its_policy_is_a_warning(
    connection: Connection, minute: datetime
) -> None:
    insert(connection, minute - timedelta(days=1), minute)
    connection.execute(
        """
        select alter_job(job_id, scheduled => true, next_start => 'infinity')
        from timescaledb_information.jobs where hypertable_name = 'event_counts_minute'
        """
    )
    refresh(connection, "event_counts_minute", end=minute)
    assert only_row(connection, "freshness", aggregate="event_counts_minute")["status"] == "warning"
    refresh(connection, "event_counts_minute", end=datetime.now(UTC))
    assert only_row(connection, "freshness", aggregate="event_counts_minute")["status"] == "ok"


def test_a_paused_job_is_a_warning(connection: Connection) -> None:
    paused = matching(connection, "jobs", on_table="event_counts_daily")
    assert [(row["job"], row["status"]) for row in paused] == [
        ("refresh_continuous_aggregate", "warning")
    ]


@pytest.mark.native(reason="the embedded server keeps no statistics of jobs")
def test_a_failed_job(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            """
            create procedure divide(job_id integer, config jsonb) language plpgsql
            as $$ begin perform 1 / 0; end $$
            """
        )
        connection.execute("select add_job('divide', interval '1 hour')")
        failed = awaited_row(connection, "jobs", job="divide", result="Failed")
        assert_told(failed)
        with rights_of(connection, "tallymark_ops"):
            assert_told(only_row(connection, "jobs", job="divide"))


def assert_told(failed: Row) -> None:
    """Fail unless the row of a failed job says that and why it failed."""
    assert failed["status"] == "warning"
    assert failed["failures"] >= 1
    assert "division by zero" in failed["last_error"]
    assert failed["last_failure"] >= failed["last_run"]


@pytest.mark.native(reason="the embedded server keeps no statistics of jobs")
def test_a_job_that_works(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = awaited_row(connection, "jobs", on_table="event_counts_minute", result="Success")
    assert (row["status"], row["failures"], row["last_error"]) == ("ok", 0, None)
    assert row["next_run"] > row["last_run"]
    assert row["took"] > timedelta()
