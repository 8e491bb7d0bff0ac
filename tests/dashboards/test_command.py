"""`python -m service ops`, as an operator runs it."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.database.dashboards import load_dashboards
from service.readable import readable
from service.server import bind
from tests.dashboards.commands import command, lines_until, printed, refused, watching
from tests.support.databases import Database

NAMES = [dashboard.name for dashboard in load_dashboards()]


def test_all_are_shown_what_is_urgent_first(shared_database_url: str) -> None:
    output = printed(shared_database_url)
    shown = re.findall(r"^(\w+)  .*\?$", output, re.MULTILINE)
    assert sorted(shown) == NAMES
    looks = {dashboard.name: dashboard.header.look for dashboard in load_dashboards()}
    order = [looks[name] for name in shown]
    assert order == sorted(order, key=["all the time", "daily", "weekly"].index)
    assert "\x1b" not in output


def test_the_named_are_shown_in_the_order_of_their_names_on_the_line(
    shared_database_url: str,
) -> None:
    output = printed(shared_database_url, "jobs", "freshness")
    assert re.findall(r"^(\w+)  .*\?$", output, re.MULTILINE) == ["jobs", "freshness"]
    assert "event_counts_quarter_hour" in output


def test_what_no_rows_mean_is_said(shared_database_url: str) -> None:
    assert "Nothing: nobody waits for a lock." in printed(shared_database_url, "locks")


def test_statements_that_nobody_counts_are_said_to_be_off(
    shared_database_url: str, database: Database
) -> None:
    database.execute("drop extension if exists pg_stat_statements")
    output = printed(shared_database_url, "slow_statements")
    assert "pg_stat_statements is off" in output
    assert "shared_preload_libraries" in output


def test_rows_beyond_the_wanted_are_counted(shared_database_url: str) -> None:
    output = printed(shared_database_url, "jobs", "--rows", "2")
    assert re.search(r"^  and \d+ more \(--rows\)$", output, re.MULTILINE)


def test_a_dashboard_that_fails_does_not_keep_the_others(
    shared_database_url: str, database: Database
) -> None:
    database.execute("create view ops.broken as select 1 / 0 as number")
    try:
        output = printed(shared_database_url, "broken", "jobs")
    finally:
        database.execute("drop view ops.broken")
    assert "division by zero" in output
    assert "columnstore" in output or "compression" in output


def test_a_picture_is_written(shared_database_url: str, tmp_path: Path) -> None:
    printed(shared_database_url, "jobs", "--svg", str(tmp_path / "ops.svg"))
    picture = (tmp_path / "ops.svg").read_text()
    assert picture.startswith("<svg")
    assert "url(http" not in picture.replace('"', "")


def test_a_picture_that_can_not_be_written_is_one_line(
    shared_database_url: str, tmp_path: Path
) -> None:
    process = command(shared_database_url, "jobs", "--svg", str(tmp_path / "no" / "ops.svg"))
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert error.startswith("tallymark: The picture can't be written")
    assert "--svg or --watch" in refused(shared_database_url, "--svg", "x.svg", "--watch", "1")


def test_an_unknown_name_is_one_line_with_those_that_there_are(shared_database_url: str) -> None:
    line = refused(shared_database_url, "jobs", "joobs")
    assert line.startswith("tallymark: There is no dashboard joobs. There are: ")
    assert all(name in line for name in NAMES)


def test_a_database_that_is_away_is_one_line() -> None:
    assert "can't be reached" in refused(nowhere())


def test_the_database_is_that_of_the_option(
    shared_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "freshness  " in printed(nowhere(), "freshness", "--database-url", shared_database_url)
    assert "DATABASE_URL is wrong" in refused(nowhere(), "--database-url", "mysql://there")


def test_watching_waits_for_a_database_that_is_away() -> None:
    with watching(nowhere(), "jobs") as lines:
        said = lines_until(lines, "trying again", times=2)
    assert "can't be reached" in said[-1]


@pytest.mark.native(reason="ends the command's session, which the embedded server does not show")
def test_watching_goes_on_after_its_connection_was_lost(
    shared_database_url: str, database: Database
) -> None:
    with watching(shared_database_url, "jobs") as lines:
        lines_until(lines, "jobs  Do the")
        database.execute(
            """
            select pg_terminate_backend(pid) from pg_stat_activity
            where application_name = 'tallymark ops' and datname = current_database()
            """
        )
        lines_until(lines, "trying again")
        lines_until(lines, "UTC, Ctrl-C ends it")
        lines_until(lines, "jobs  Do the")


def test_watching_without_names_shows_what_changes_all_the_time(shared_database_url: str) -> None:
    with watching(shared_database_url) as lines:
        seen = "".join([*lines_until(lines, "Ctrl-C"), *lines_until(lines, "Ctrl-C")])
    looks = {dashboard.name: dashboard.header.look for dashboard in load_dashboards()}
    shown = set(re.findall(r"^(\w+)  (?:.*\?$|Nothing: )", seen, re.MULTILINE))
    assert shown == {name for name, look in looks.items() if look == "all the time"}


def nowhere() -> str:
    """Return the URL of a database that is not there."""
    with bind("127.0.0.1", 0) as listener:
        return f"postgresql://postgres@127.0.0.1:{listener.getsockname()[1]}/postgres"


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        ("any", None, ""),
        ("statement", "select\n    1", "select 1"),
        ("bytes_now", 0, "0 B"),
        ("total_bytes", 8192, "8.0 kB"),
        ("total_bytes", 3 << 40, "3.0 TB"),
        ("bytes_30_days_as_rows", 150 << 20, "150 MB"),
        ("events", 1234567, "1,234,567"),
        ("pid", 12345, "12345"),
        ("cache_percent", 99.87, "99.9 %"),
        ("p95_ms", 1234.5, "1,234 ms"),
        ("mean_ms", 0.25, "0.25 ms"),
        ("behind", timedelta(milliseconds=12), "12 ms"),
        ("behind", timedelta(seconds=59.7), "59.7 s"),
        ("every", timedelta(seconds=15), "15 s"),
        ("behind", timedelta(days=1, hours=3, minutes=20), "1 d 3 h"),
        ("behind", timedelta(hours=-2), "-2 h"),
        ("minute", datetime(2025, 5, 1, tzinfo=UTC), "2025-05-01"),
        ("minute", datetime(2025, 5, 1, 9, 30, 12, tzinfo=UTC), "2025-05-01 09:30"),
    ],
)
def test_values_are_readable(column: str, value: object, shown: str) -> None:
    assert readable(column, value) == shown
