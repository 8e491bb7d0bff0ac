"""The role tallymark_ops: it reads the dashboards, and nothing else."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo

from service.database.dashboards import load_dashboards
from service.database.migrations import migrate
from tests.dashboards.roles import rights_of, temporary_role
from tests.support.databases import Database

NAMES = [dashboard.name for dashboard in load_dashboards()]

FORBIDDEN = (
    "select * from events",
    "select * from event_counts()",
    "select * from event_counts_daily",
    "select * from ingest_minutes",
    "select * from schema_migrations",
    "insert into ingest_minutes default values",
    "delete from events",
    "create table ops.mine ()",
    "create table public.mine ()",
    "create or replace view ops.jobs as select 1",
    "delete from ops.jobs",
    "call ops.drop_dashboards()",
    "call ops.grant_access()",
)


@pytest.fixture
def ops(database: Database) -> Iterator[Database]:
    """A connection with the rights of tallymark_ops, to a database with an event."""
    database.execute("delete from events")
    database.execute(
        """
        insert into events (timestamp, event_id, user_id, event_type, payload)
        values (now(), gen_random_uuid(), 'a secret', 'click', '{}')
        """
    )
    with rights_of(database, "tallymark_ops"):
        yield database


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_each_dashboard(name: str, ops: Database) -> None:
    found = ops.execute(sql.SQL("select * from {}").format(sql.Identifier("ops", name))).fetchall()
    assert "a secret" not in str(found)


def test_it_sees_what_events_there_were(ops: Database) -> None:
    assert ops.execute("select events from ops.ingest_rate").fetchall() == [(1,)]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_it_can_do_nothing_else(statement: str, ops: Database) -> None:
    with pytest.raises((errors.InsufficientPrivilege, errors.ObjectNotInPrerequisiteState)):
        ops.execute(statement.encode())


def test_others_read_nothing(database: Database) -> None:
    refused = pytest.raises(errors.InsufficientPrivilege)
    with temporary_role(database) as stranger, rights_of(database, stranger), refused:
        database.execute("select * from ops.jobs")


@pytest.mark.native(reason="the embedded server shows no sessions")
def test_it_sees_what_others_run(ops: Database, shared_database_url: str) -> None:
    with psycopg.connect(shared_database_url, application_name="other") as other:
        other.execute("select 'of others'")
        query = "select state from ops.connections where application = 'other'"
        assert ops.execute(query).fetchall() == [("idle in transaction",)]


@pytest.mark.native(reason="migrates as a role of its own, in a database of its own")
def test_a_role_that_may_make_no_roles_can_migrate(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        # What an administrator makes for a service: a database, and the extension in it.
        connection.execute("create extension timescaledb")
        with temporary_role(connection, "login password 'hush'") as owner:
            database, role = sql.Identifier(connection.info.dbname), sql.Identifier(owner)
            connection.execute(sql.SQL("grant create on database {} to {}").format(database, role))
            connection.execute(sql.SQL("grant create on schema public to {}").format(role))
            migrate(make_conninfo(empty_database_url, user=owner, password="hush"))
            with rights_of(connection, owner):
                for name in NAMES:
                    view = sql.Identifier("ops", name)
                    connection.execute(sql.SQL("select * from {}").format(view))
