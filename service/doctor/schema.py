"""Which database it is, whether it has this version's schema, and who may do what."""

from collections.abc import Iterator
from datetime import timedelta

from psycopg import Connection

from service.database.backup import READERS
from service.database.connections import load_query
from service.database.migrations import is_embedded, load_migrations, missing_migrations
from service.database.retention import REMEDY, SCHEDULED
from service.database.rights import OWNER
from service.doctor.findings import Finding, ok, sentence, warning, wrong
from service.settings import Settings

VERSION = """
select current_setting('server_version'), extversion, current_setting('timescaledb.license')
from pg_extension where extname = 'timescaledb'
"""
ROLE = """
select current_user::text, rolsuper,
       has_table_privilege('events', 'insert') and has_table_privilege('rejected_events', 'insert')
           and has_table_privilege('ingest_minutes', 'insert'),
       has_table_privilege('events', 'select')
from pg_roles where rolname = current_user
"""
MAY_MIGRATE = load_query("may_migrate")


def check_version(connection: Connection, _: Settings) -> Iterator[Finding]:
    """Yield the versions, which check_server() has found new enough."""
    row = connection.execute(VERSION).fetchone()
    if row is None:
        yield wrong(
            "version",
            "The extension is not there yet",
            "Start the service, or `python -m service migrate`.",
        )
        return
    found = f"PostgreSQL {row[0]}, TimescaleDB {row[1]} ({row[2]})"
    if is_embedded(connection):
        remedy = "It is for trying and testing: for more give DATABASE_URL that of a TimescaleDB."
        yield warning("version", f"{found}, embedded", remedy)
    else:
        yield ok("version", found)


def check_migrations(connection: Connection, _: Settings) -> Iterator[Finding]:
    """Yield whether the schema is that of this version."""
    missing = missing_migrations(connection)
    if missing:
        found = f"{len(missing)} missing, first {missing[0]}"
        may = connection.execute(MAY_MIGRATE).fetchone() == (True,)
        remedy = "`python -m service migrate`, or start the service" if may else OWNER
        yield wrong("migrations", found, sentence(remedy))
        return
    newest = load_migrations()[-1].version
    row = connection.execute("select max(version) from schema_migrations").fetchone()
    if row is not None and row[0] > newest:
        found = f"The database is at {row[0]}, this version at {newest}"
        yield warning("migrations", found, "Another instance is newer: update this one.")
    else:
        yield ok("migrations", f"All applied, up to {newest}")


def check_roles(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Yield what the service's role may do."""
    name, is_super, may_store, may_read = connection.execute(ROLE).fetchone() or ("?", *[False] * 3)
    if not (may_store and may_read):
        remedy = f'As the owner: grant tallymark_service to "{name}" (docs/deployment.md).'
        yield wrong("role", f"{name} may not store or read events", remedy)
    elif is_super:
        remedy = "Give the service a role that stores and reads only (docs/deployment.md)."
        yield warning("role", f"{name} is a superuser", remedy)
    else:
        yield ok("role", f"{name} stores and reads")
    absent = [
        role
        for role in READERS
        if connection.execute("select to_regrole(%s)", [role]).fetchone() == (None,)
    ]
    if absent:
        remedy = "Make them, and grant what they need: docs/deployment.md, docs/dashboards.md."
        yield warning("roles", f"There is no {', '.join(absent)}", remedy)


def check_retention(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Yield whether events are kept as long as the setting says."""
    days = settings.retention_days
    keep = None if days is None else timedelta(days=days)
    wanted = "for ever" if days is None else f"for {days} days"
    if connection.execute(SCHEDULED, [keep]).fetchone() == (True,):
        yield ok("retention", f"Events are kept {wanted}")
    else:
        found = f"RETENTION_DAYS says {wanted}, the database otherwise"
        yield warning("retention", found, sentence(REMEDY))
