"""Brings a database to the schema of sql/migrations, each file once, whoever else does the same.

The views of sql/dashboards follow, since they are made of that schema.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.rows import dict_row

from service.database.connections import CONNECTION
from service.database.dashboards import DashboardError, apply_dashboards, load_dashboards
from service.database.failures import first_line
from service.database.locks import LOCK_SECONDS, LockedError, patiently

MIGRATIONS = Path(__file__).parents[2] / "sql" / "migrations"

OLDEST_POSTGRESQL = 170000
OLDEST_NATIVE = (2, 26, 3)
EMBEDDED = (2, 23)
"""The embedded server's version: one session, so that refreshes never run side by side."""

PREPARING: dict[str, Any] = {
    "options": CONNECTION["options"]
    + f" -c statement_timeout=0 -c lock_timeout={LOCK_SECONDS:.0f}s",
}
"""A statement takes as long as it needs, and does not wait long for a lock."""

# "Tallymar" in ASCII: an advisory lock's key is one number for the whole database.
LOCK_KEY = 0x54616C6C796D6172

RECORD = """
create table schema_migrations (
    version    integer     primary key,
    name       text        not null,
    checksum   text        not null,
    applied_at timestamptz not null default now()
)
"""


APACHE = (
    "This is the Apache edition of TimescaleDB, which has no continuous aggregates; "
    "Tallymark needs the community edition, as in the image timescale/timescaledb or from "
    "https://docs.timescale.com/self-hosted/latest/install/"
)


class DatabaseError(Exception):
    """The database can't be used; the text is one plain line that says why and what to do."""


class DatabaseAwayError(DatabaseError):
    """The database can't be reached at the moment."""


@dataclass(frozen=True)
class Migration:
    """One file of sql/migrations."""

    version: int
    name: str
    statements: bytes

    @property
    def checksum(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.statements).hexdigest()


def load_migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """Return the migrations of a folder in order."""
    return [
        Migration(int(path.name.split("_")[0]), path.name, path.read_bytes())
        for path in sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    ]


def connect_or_explain(database_url: str, **options: Any) -> Connection:
    """Return a connection in autocommit mode. Raises DatabaseAwayError with one plain line."""
    try:
        return Connection.connect(database_url, **CONNECTION | options)
    except psycopg.Error as error:
        raise _away(error) from None


def _away(error: psycopg.Error) -> DatabaseAwayError:
    return DatabaseAwayError(
        f"The database can't be reached: {first_line(error)}. "
        "Is it running, and is its URL right (DATABASE_URL)?"
    )


@contextmanager
def preparing(database_url: str, purpose: str) -> Iterator[Connection]:
    """Yield a connection to prepare the database by, in autocommit mode.

    What is under way when this process ends is rolled back soon. Raises DatabaseAwayError where
    the database can't be reached, or goes away, and DatabaseError for what else it says.
    """
    with connect_or_explain(database_url, **PREPARING) as connection:
        try:
            _end_with_this_process(connection)
            yield connection
        except LockedError as error:
            raise DatabaseError(str(error)) from error
        except psycopg.Error as error:
            if connection.closed:
                raise _away(error) from error
            raise DatabaseError(f"{purpose} failed: {first_line(error)}.") from error


def _end_with_this_process(connection: Connection) -> None:
    # Else the server finishes a statement first. Some systems can't tell that a client has gone.
    with suppress(psycopg.errors.InvalidParameterValue):
        connection.execute("set client_connection_check_interval = '1s'")


def migrate(database_url: str, folder: Path = MIGRATIONS) -> list[str]:
    """Apply what is missing and return its names.

    Each migration has a transaction of its own that takes an advisory lock and then looks again, so
    any number of instances may start at once. A lock that is not free within PATIENCE_SECONDS is
    given up. Raises DatabaseError, or DatabaseAwayError.
    """
    with preparing(database_url, "The migration") as connection:
        try:
            check_server(connection)
            applied = list(_apply_missing(connection, load_migrations(folder)))
            return applied + _apply_dashboards(connection)
        except DashboardError as error:
            raise DatabaseError(str(error)) from error
        except psycopg.errors.FeatureNotSupported as error:
            # Before the extension is created nothing else tells the edition.
            reason = APACHE if "license" in str(error) else first_line(error)
            raise DatabaseError(reason) from error


def _apply_missing(connection: Connection, migrations: list[Migration]) -> Iterator[str]:
    for migration in migrations:
        work = partial(_apply, connection, migration)
        if patiently(connection, f"The migration {migration.name}", work):
            yield migration.name


def _apply(connection: Connection, migration: Migration) -> bool:
    """Return whether it was missing."""
    with _alone(connection):
        # "if not exists" would want the right to make it of a role that need not.
        if connection.execute("select to_regclass('schema_migrations')").fetchone() == (None,):
            connection.execute(RECORD)
        if _is_applied(connection, migration):
            return False
        connection.execute(migration.statements)
        connection.execute(
            "insert into schema_migrations (version, name, checksum) values (%s, %s, %s)",
            [migration.version, migration.name, migration.checksum],
        )
        return True


def _apply_dashboards(connection: Connection) -> list[str]:
    def apply() -> list[str]:
        with _alone(connection):
            return apply_dashboards(connection, load_dashboards())

    views = patiently(connection, "Replacing the views of sql/dashboards", apply)
    return [f"{len(views)} of the views in sql/dashboards"] if views else []


def missing_migrations(connection: Connection) -> list[str]:
    """Return the names of the migrations that were not applied yet. Raises as migrate()."""
    check_server(connection)
    migrations = load_migrations()
    if connection.execute("select to_regclass('schema_migrations')").fetchone() == (None,):
        return [migration.name for migration in migrations]
    return [one.name for one in migrations if not _is_applied(connection, one)]


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", [LOCK_KEY])
        yield


def _is_applied(connection: Connection, migration: Migration) -> bool:
    cursor = connection.cursor(row_factory=dict_row)
    query = "select name, checksum from schema_migrations where version = %s"
    row = cursor.execute(query, [migration.version]).fetchone()
    if row is not None and row["checksum"] != migration.checksum:
        raise DatabaseError(
            f"The migration {migration.name} was applied to this database in another form "
            f"(as {row['name']}). Applied migrations must not be edited: put the file back and "
            "make the change in a new one."
        )
    return row is not None


def check_server(connection: Connection) -> None:
    """Raise DatabaseError unless this is a TimescaleDB that can do what Tallymark needs."""
    postgresql = connection.info.server_version
    if postgresql < OLDEST_POSTGRESQL:
        raise DatabaseError(
            f"This is PostgreSQL {postgresql // 10000}; Tallymark needs 17 or newer. "
            "The image timescale/timescaledb:latest-pg18 has it."
        )
    version = _timescaledb_version(connection)
    if version < OLDEST_NATIVE and not (version[:2] == EMBEDDED and is_embedded(connection)):
        found, needed = (".".join(map(str, parts)) for parts in (version, OLDEST_NATIVE))
        raise DatabaseError(
            f"This is TimescaleDB {found}; Tallymark needs {needed} or newer, since refreshes that "
            "ran side by side could leave gaps before. Update it: "
            "https://docs.timescale.com/self-hosted/latest/upgrades/"
        )
    licence = connection.execute("select current_setting('timescaledb.license', true)").fetchone()
    if licence is not None and licence[0] == "apache":
        raise DatabaseError(APACHE)


def is_embedded(connection: Connection) -> bool:
    """Return whether this is the server that comes with Tallymark, for trying."""
    row = connection.execute("select version()").fetchone()
    return row is not None and "emcc" in str(row[0])


def _timescaledb_version(connection: Connection) -> tuple[int, ...]:
    row = connection.execute(
        """
        select coalesce(installed_version, default_version)
        from pg_available_extensions where name = 'timescaledb'
        """
    ).fetchone()
    if row is None:
        raise DatabaseError(
            "This PostgreSQL has no TimescaleDB. Use the image timescale/timescaledb, or install "
            "the extension: https://docs.timescale.com/self-hosted/latest/install/"
        )
    numbers = str(row[0]).split("-")[0].split(".")
    return tuple(int(number) for number in numbers)
