"""The files of sql/dashboards: what they say of themselves, and how they reach a database."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from service.database.dashboards import (
    DASHBOARDS,
    FIRST_TO_LOOK_AT,
    Dashboard,
    DashboardError,
    apply_dashboards,
    load_dashboards,
)
from service.database.migrations import migrate
from tests.dashboards.commands import refused
from tests.support.databases import Database

ROOT = Path(__file__).parents[2]
ALL = load_dashboards()
NAMES = [dashboard.name for dashboard in ALL]

WORD = b"-- Which word?\n--\n-- word    a word\n--\n-- Look: weekly\n\n"
FIRST = WORD + b"create or replace view ops.word as select 'first' as word;"
SECOND = WORD + b"create or replace view ops.word as select 'second' as word, 2 as number;"
INCOMPATIBLE = WORD + b"create or replace view ops.word as select 1 as number;"


@pytest.mark.parametrize("dashboard", ALL, ids=NAMES)
def test_a_header_says_what_the_view_answers(dashboard: Dashboard, database: Database) -> None:
    assert dashboard.header.question.endswith("?")
    assert dashboard.header.look in FIRST_TO_LOOK_AT
    columns = """
        select attname, col_description(attrelid, attnum) from pg_attribute
        where attrelid = to_regclass('ops.' || %s) and attnum > 0 order by attnum
    """
    found = database.execute(columns, [dashboard.name]).fetchall()
    assert found == list(dashboard.header.columns.items())
    comment = "select obj_description(to_regclass('ops.' || %s))"
    assert database.execute(comment, [dashboard.name]).fetchone() == (dashboard.header.text,)


@pytest.mark.parametrize("dashboard", ALL, ids=NAMES)
def test_a_file_is_one_statement_that_psql_takes(
    dashboard: Dashboard, shared_database_url: str
) -> None:
    psql = shutil.which("psql")
    if psql is None:
        with psycopg.connect(shared_database_url, autocommit=True) as connection:
            connection.execute(dashboard.statement)
        return
    file = DASHBOARDS / f"{dashboard.name}.sql"
    command = [psql, shared_database_url, "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--file={file}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "CREATE VIEW\n", "")


def test_all_views_of_the_schema_come_from_files(database: Database) -> None:
    views = "select viewname from pg_views where schemaname = 'ops' order by 1"
    assert [name for (name,) in database.execute(views).fetchall()] == NAMES


def test_docker_compose_counts_statements() -> None:
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    command = compose["services"]["db"]["command"].split()
    assert "shared_preload_libraries=timescaledb,pg_stat_statements" in command


def test_a_database_without_the_schema_has_none(empty_database_url: str) -> None:
    assert "python -m service migrate" in refused(empty_database_url)


def test_a_changed_file_replaces_the_view(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert apply(connection, FIRST) == ["word"]
        assert apply(connection, FIRST) == []
        assert apply(connection, SECOND) == ["word"]
        assert connection.execute("select * from ops.word").fetchall() == [("second", 2)]


def test_an_older_release_beside_a_newer_one_changes_nothing_back(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        apply(connection, FIRST)
        apply(connection, SECOND)
        assert apply(connection, FIRST) == []
        assert connection.execute("select * from ops.word").fetchall() == [("second", 2)]


def test_columns_can_not_be_taken_away(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        apply(connection, FIRST)
        with pytest.raises(DashboardError, match=r"The dashboard word can't .* only be appended"):
            apply(connection, INCOMPATIBLE)
        assert connection.execute("select * from ops.word").fetchall() == [("first",)]


def apply(connection: Database, statement: bytes) -> list[str]:
    """Apply one dashboard as a migration does."""
    with connection.transaction():
        return apply_dashboards(connection, [Dashboard("word", statement)])


def test_dropped_dashboards_come_back_with_their_rights(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("call ops.drop_dashboards()")
        views = "select count(*) from pg_views where schemaname = 'ops'"
        assert connection.execute(views).fetchone() == (0,)
        assert migrate(database_url) == [f"{len(NAMES)} of the views in sql/dashboards"]
        connection.execute("set role tallymark_ops")
        assert connection.execute("select * from ops.jobs").fetchall()
