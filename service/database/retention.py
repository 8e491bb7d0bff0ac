"""Refreshes at once, and how long events are kept: see docs/retention.md."""

import time
from contextlib import suppress
from datetime import datetime, timedelta

import structlog
from psycopg import Connection, errors

from service.database.connections import connect, load_query, within
from service.database.locks import patiently
from service.database.migrations import preparing

log = structlog.get_logger()

REFRESH_DEADLINE_SECONDS = 120.0
REFRESH_RETRY_SECONDS = 0.5
REMEDY = (
    "let the owner set it: `python -m service migrate --with-retention`, with the owner's URL in "
    "MIGRATION_DATABASE_URL"
)

REFRESH = "call refresh_counts(%s::timestamptz, %s::timestamptz)"
HASTEN = "select hasten_refreshes()"
SCHEDULED = load_query("scheduled_retention")
SCHEDULE = "select schedule_retention(%s::interval)"


def refresh_counts(
    connection: Connection, start: datetime | str | None = None, end: datetime | str | None = None
) -> None:
    """Bring all aggregates of events up to date between two instants; None is an open end.

    It may meet a policy that refreshes one of them, and is tried again then. Raises psycopg.Error.
    """
    deadline = time.monotonic() + REFRESH_DEADLINE_SECONDS
    while True:
        try:
            connection.execute(REFRESH, [start, end])
            return
        except errors.LockNotAvailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(REFRESH_RETRY_SECONDS)


def refresh(database_url: str, start: datetime | None, end: datetime | None) -> None:
    """Refresh as refresh_counts() does, over a connection of its own. Raises DatabaseError."""
    with preparing(database_url, "The refresh") as connection:
        refresh_counts(connection, start, end)


async def refresh_beside(database_url: str, start: datetime, end: datetime) -> None:
    """Refresh as refresh_counts() does, but leave it to a policy that does so just now.

    A role that may not refresh lets all policies run at once.

    Raises what psycopg raises, and TimeoutError, in time also where the server is silent.
    """
    await within(REFRESH_DEADLINE_SECONDS, _refresh_beside(database_url, start, end))


async def _refresh_beside(database_url: str, start: datetime, end: datetime) -> None:
    connecting = connect(database_url, statement_timeout_seconds=REFRESH_DEADLINE_SECONDS)
    async with await connecting as connection:
        try:
            with suppress(errors.LockNotAvailable):
                await connection.execute(REFRESH, [start, end])
        except errors.InsufficientPrivilege:
            await connection.execute(HASTEN)


def set_retention(database_url: str, days: int | None) -> None:
    """Let events go after so many days, or never. Raises DatabaseError.

    The setting of the instance that started last is the one that holds.
    """
    keep = None if days is None else timedelta(days=days)
    purpose = "Setting the retention"
    with preparing(database_url, purpose) as connection:
        patiently(connection, purpose, lambda: connection.execute(SCHEDULE, [keep]))


def warn_of_other_retention(database_url: str, days: int | None) -> None:
    """Log a line where the database keeps events longer, or shorter. Raises DatabaseError."""
    keep = None if days is None else timedelta(days=days)
    with preparing(database_url, "Looking at the retention") as connection:
        if connection.execute(SCHEDULED, [keep]).fetchone() == (False,):
            log.warning("retention is not that of RETENTION_DAYS", remedy=REMEDY)
