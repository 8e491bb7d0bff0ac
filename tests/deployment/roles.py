"""A database whose schema is an owner's, and a role of the service that may only store and read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from service.database.migrations import migrate
from tests.dashboards.roles import temporary_role
from tests.support.databases import Database


class Roles(NamedTuple):
    """The same database by different roles."""

    owner_url: str
    service_url: str
    service: str
    """The name of the service's role."""
    owner: str


def as_role(url: str, role: str) -> str:
    """Return the URL of a database for a role of these tests."""
    parts = conninfo_to_dict(url)
    return f"postgresql://{role}:hush@{parts['host']}:{parts['port']}/{parts['dbname']}"


@contextmanager
def separate_roles(url: str, *, migrated: bool = True) -> Iterator[Roles]:
    """Yield the roles of an empty database, as docs/deployment.md makes them."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create extension timescaledb")
        with (
            temporary_role(connection, "login password 'hush'") as owner,
            temporary_role(connection, "login password 'hush'") as service,
        ):
            _may_make(connection, owner)
            roles = Roles(as_role(url, owner), as_role(url, service), service, owner)
            if migrated:
                migrate(roles.owner_url)
                member = sql.SQL("grant tallymark_service to {}").format(sql.Identifier(service))
                connection.execute(member)
            try:
                yield roles
            finally:
                # A job that runs has rows of the catalog that are dropped with its owner.
                connection.execute("select _timescaledb_functions.stop_background_workers()")


def _may_make(connection: Database, owner: str) -> None:
    database, role = sql.Identifier(connection.info.dbname), sql.Identifier(owner)
    connection.execute(sql.SQL("grant create on database {} to {}").format(database, role))
    connection.execute(sql.SQL("grant create on schema public to {}").format(role))
