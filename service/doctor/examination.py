"""All checks, in the order in which they are told."""

from collections.abc import Iterable, Iterator

import psycopg
from psycopg import Connection

from service.database.failures import first_line
from service.database.migrations import (
    DatabaseError,
    check_server,
    connect_or_explain,
    is_embedded,
)
from service.doctor.findings import Finding, Status, wrong
from service.doctor.jobs import check_freshness, check_jobs, check_workers
from service.doctor.rights import check_rights
from service.doctor.schema import check_migrations, check_retention, check_roles, check_version
from service.doctor.server import check_clock, check_connections, check_settings
from service.doctor.spool import check_spool, database_identity
from service.settings import Settings

CHECKS = (
    check_version,
    check_migrations,
    check_roles,
    check_rights,
    check_settings,
    check_workers,
    check_connections,
    check_jobs,
    check_freshness,
    check_retention,
    check_clock,
)

OF_A_SERVER = {check_roles, check_settings, check_workers}
"""What nobody can change of the embedded one."""
OF_A_SCHEMA = {check_roles, check_workers, check_jobs, check_freshness, check_retention}
HAS_SCHEMA = "select to_regclass('schema_migrations') is not null"

# Without the service's own time zone, so that the server's is seen.
READING = {"application_name": "tallymark doctor", "options": "-c search_path=public"}


def examine(settings: Settings) -> list[Finding]:
    """Return all that can be found. Changes nothing."""
    return list(_examine(settings))


def _examine(settings: Settings) -> Iterator[Finding]:
    identity = None
    try:
        with connect_or_explain(settings.database_url, **READING) as connection:
            yield from _checks_of(connection, settings)
            identity = database_identity(connection)
    except DatabaseError as error:
        yield wrong(
            "database", str(error), "Events are kept on the disk meanwhile, if there is a spool."
        )
    if settings.database_read_url is not None:
        yield from _readable(settings.database_read_url)
    yield from _told(check_spool(settings, identity))


def _checks_of(connection: Connection, settings: Settings) -> Iterator[Finding]:
    try:
        check_server(connection)
    except DatabaseError as error:
        # Nothing below would mean anything.
        yield wrong("database", str(error), "See docs/deployment.md.")
        return
    senseless = OF_A_SERVER if is_embedded(connection) else set()
    if connection.execute(HAS_SCHEMA).fetchone() != (True,):
        senseless = senseless | OF_A_SCHEMA
    for check in CHECKS:
        if check in senseless:
            continue
        name = check.__name__.removeprefix("check_")
        try:
            yield from _told(check(connection, settings))
        except DatabaseError as error:
            yield wrong(name, str(error), "See docs/deployment.md.")
        except psycopg.Error as error:
            remedy = "Mend what is wrong above, or ask as another role (DATABASE_URL)."
            yield wrong(name, f"It can't be looked at: {first_line(error)}", remedy)


def _told(findings: Iterable[Finding]) -> list[Finding]:
    """Return what a check has found that is not well, if there is any: else that all is."""
    found = list(findings)
    return [one for one in found if one.status is not Status.OK] or found


def _readable(url: str) -> Iterator[Finding]:
    try:
        connect_or_explain(url, **READING).close()
    except DatabaseError as error:
        text = str(error).replace("DATABASE_URL", "DATABASE_READ_URL")
        yield wrong("replica", text, "Counts are not answered; events are kept meanwhile.")
