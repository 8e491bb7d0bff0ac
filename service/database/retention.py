"""Refreshes at once, and how long events are kept: see docs/retention.md."""

import time
from contextlib import suppress
from datetime import datetime, timedelta

import psycopg
from psycopg import Connection, errors

from service.database.connections import connect
from service.database.failures import first_line
from service.database.migrations import DatabaseError, connect_or_explain

REFRESH_DEADLINE_SECONDS = 120.0
REFRESH_RETRY_SECONDS = 0.5

REFRESH = "call refresh_counts(%s::timestamptz, %s::timestamptz)"
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
    with connect_or_explain(database_url) as connection:
        try:
            refresh_counts(connection, start, end)
        except psycopg.Error as error:
            raise DatabaseError(f"The refresh failed: {first_line(error)}.") from error


async def refresh_beside(database_url: str, start: datetime, end: datetime) -> None:
    """Refresh as refresh_counts() does, but leave it to a policy that does so just now.

    Raises what psycopg raises.
    """
    connecting = connect(database_url, statement_timeout_seconds=REFRESH_DEADLINE_SECONDS)
    async with await connecting as connection:
        with suppress(errors.LockNotAvailable):
            await connection.execute(REFRESH, [start, end])


def set_retention(database_url: str, days: int | None) -> None:
    """Let events go after so many days, or never. Raises DatabaseError.

    The setting of the instance that started last is the one that holds.
    """
    keep = None if days is None else timedelta(days=days)
    with connect_or_explain(database_url) as connection:
        try:
            connection.execute(SCHEDULE, [keep])
        except psycopg.Error as error:
            reason = first_line(error)
            raise DatabaseError(f"The retention could not be set: {reason}.") from error
