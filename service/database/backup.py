"""Backups by PostgreSQL's own tools: a dump into a file, and a file into a fresh database."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

import psycopg
from psycopg import Connection, sql
from psycopg.errors import InsufficientPrivilege
from psycopg.pq import Conninfo

from service.database.failures import first_line
from service.database.migrations import (
    DatabaseError,
    check_server,
    connect_or_explain,
    is_embedded,
)

READERS = ("tallymark_ops", "tallymark_read", "tallymark_service", "tallymark_privacy")
"""Roles that the migrations make, and that a dump grants rights to."""

# TimescaleDB notes there which of its versions the catalog's rows are of.
VERSION = re.compile(r"^timescaledb_version\t([\w.-]+)\t", re.MULTILINE)

NOTHING_THERE = """
select not exists (
    select from pg_class
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'm')
      and not exists (select from pg_depend where objid = pg_class.oid and deptype = 'e')
)
"""

# A dump holds no rights on the database itself; the owner makes schemas.
LET_OWNER_CREATE = """
do $$
declare
    of_events record;
begin
    for of_events in
        select tableowner from pg_tables where schemaname = 'public' and tablename = 'events'
    loop
        execute format(
            'grant create on database %I to %I', current_database(), of_events.tableowner
        );
    end loop;
end
$$
"""


class BackupError(DatabaseError):
    """A backup, or a restore, can't be made; the text is one plain line."""


def back_up(database_url: str, file: Path) -> None:
    """Write a dump of the database, as of one moment, while others write. Raises DatabaseError."""
    if file.exists():
        raise BackupError(f"{file} is there already: a dump replaces none.")
    with connect_or_explain(database_url) as connection:
        if is_embedded(connection):
            raise BackupError("This is the embedded database: stop it, and copy its folder.")
        _require_tool("pg_dump", connection)
    # Only what is whole bears the name.
    part = file.with_name(f"{file.name}.{token_hex(4)}.part")
    try:
        # Made now, and by nobody else: what is in it is not for everybody.
        part.touch(mode=0o600, exist_ok=False)
        options = ("--format=custom", "--no-password", f"--file={part}")
        _output("pg_dump", *options, database_url=database_url)
        part.rename(file)
    except OSError as error:
        raise BackupError(f"{file} can't be written: {error.strerror}.") from None
    finally:
        part.unlink(missing_ok=True)


def restore(file: Path, database_url: str, *, as_copy: bool = False) -> None:
    """Restore a dump into an empty database.

    It is the same database then, to which spooled events belong; `as_copy`: another one. Raises
    DatabaseError: what was begun is of no use, drop that database.
    """
    with connect_or_explain(database_url) as connection:
        _require_tool("pg_restore", connection)
        check_server(connection)
        version = _version_of(file)
        if connection.execute(NOTHING_THERE).fetchone() != (True,):
            raise BackupError("The database is not empty: make a new one (createdb) to restore to.")
        _make_extension(connection, version)
        _make_readers(connection)
    with _restoring(database_url):
        name = _variables(database_url).get("PGDATABASE", "")
        options = ("--no-password", "--exit-on-error", f"--dbname={name}")
        _output("pg_restore", *options, str(file), database_url=database_url)
    with connect_or_explain(database_url) as connection:
        connection.execute(LET_OWNER_CREATE)
        if as_copy:
            connection.execute("update database_identity set id = gen_random_uuid()")


def _require_tool(name: str, connection: Connection) -> None:
    server = connection.info.server_version // 10000
    remedy = (
        f"install the client tools of PostgreSQL {server} (postgresql-client-{server}), put them "
        "first in PATH, or run it where the database runs (docs/backup.md)"
    )
    if shutil.which(name) is None:
        raise BackupError(f"There is no {name} here: {remedy}.")
    said = _output(name, "--version")
    found = re.search(r"\d+", said)
    if found is None or int(found[0]) < server:
        raise BackupError(
            f"{said.strip()} is older than the server, PostgreSQL {server}: {remedy}."
        )


def _version_of(file: Path) -> str:
    """Return which TimescaleDB a dump was made of."""
    if not file.is_file():
        raise BackupError(f"There is no file {file}.")
    rows = _output(
        "pg_restore", "--data-only", "--schema=_timescaledb_catalog", "--table=metadata",
        "--file=-", str(file),
    )  # fmt: skip
    found = VERSION.search(rows)
    if found is None:
        raise BackupError(f"{file} is no dump of a TimescaleDB database.")
    return found[1]


def _make_extension(connection: Connection, version: str) -> None:
    installed = connection.execute(
        "select extversion from pg_extension where extname = 'timescaledb'"
    ).fetchone()
    if installed is None:
        create = sql.SQL("create extension timescaledb version {}").format(sql.Literal(version))
        try:
            connection.execute(create)
        except psycopg.Error as error:
            raise BackupError(
                f"The dump is of TimescaleDB {version}, which this server can't make: "
                f"{first_line(error)}. Restore with that version, and update it afterwards."
            ) from None
    elif installed != (version,):
        raise BackupError(
            f"The dump is of TimescaleDB {version}, and this database has {installed[0]}: make it "
            "by `create database … template template0`, on a server that has that version, and "
            "update it afterwards."
        )


def _make_readers(connection: Connection) -> None:
    for role in READERS:
        if connection.execute("select to_regrole(%s)", [role]).fetchone() == (None,):
            # Whoever may not make it is told so by pg_restore.
            with suppress(InsufficientPrivilege):
                connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(role)))


@contextmanager
def _restoring(database_url: str) -> Iterator[None]:
    try:
        with connect_or_explain(database_url) as connection:
            connection.execute("select timescaledb_pre_restore()")
        yield
        with connect_or_explain(database_url) as connection:
            connection.execute("select timescaledb_post_restore()")
            connection.execute("analyze")
    except InsufficientPrivilege as error:
        reason = f"The restore failed: {first_line(error)}: give the URL of an administrator."
        raise BackupError(reason) from None
    except psycopg.Error as error:
        raise BackupError(f"The restore failed: {first_line(error)}.") from None


def _output(program: str, *arguments: str, database_url: str | None = None) -> str:
    """Return what one of PostgreSQL's tools prints, which learns of a database by the environment:
    a password in an argument is seen by everybody on the machine.
    """
    done = subprocess.run(  # noqa: S603 - a tool that was looked for
        [program, *arguments],
        env=os.environ | ({} if database_url is None else _variables(database_url)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BackupError(f"{program} failed: {_first_error(done.stderr)}")
    return done.stdout


def _first_error(said: str) -> str:
    lines = [line for line in said.splitlines() if "error:" in line] or said.splitlines()
    first = lines[0] if lines else "it said nothing"
    hint = ""
    if "max_locks_per_transaction" in said:
        hint = " (raise max_locks_per_transaction: docs/deployment.md)"
    elif "permission denied" in said or "privilege" in said:
        hint = " (give the owner's URL: MIGRATION_DATABASE_URL)"
    return f"{first.rstrip('.')}{hint}."


def _variables(database_url: str) -> dict[str, str]:
    """Return the variables by which libpq knows a database."""
    return {
        option.envvar.decode(): option.val.decode()
        for option in Conninfo.parse(database_url.encode())
        if option.envvar is not None and option.val is not None
    }
