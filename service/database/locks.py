"""Waits for locks that others hold, not for ever, and in short tries: others wait behind each."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from psycopg import Connection, errors

log = structlog.get_logger()

Result = TypeVar("Result")

LOCK_SECONDS = 2.0
"""The lock_timeout of a try."""
PAUSE_SECONDS = 0.5
PATIENCE_SECONDS = 60.0

# Whoever waits for a lock himself is in nobody's way.
OLDEST_TRANSACTION = """
select pid, concat_ws(', ', nullif(application_name, ''), state)
from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null
order by wait_event_type is not distinct from 'Lock', xact_start
limit 1
"""


class LockedError(Exception):
    """Others hold a lock for too long; the text is one plain line that says what to do."""


def patiently(connection: Connection, purpose: str, work: Callable[[], Result]) -> Result:
    """Return what a transaction returns, which is tried again while others hold a lock it needs.

    The connection's lock_timeout ends a try. Logs once that it waits. Raises LockedError.
    """
    give_up = time.monotonic() + PATIENCE_SECONDS
    told = False
    while True:
        try:
            return work()
        except (errors.LockNotAvailable, errors.DeadlockDetected) as error:
            holder, remedy = _holder(connection)
            if time.monotonic() >= give_up:
                raise LockedError(
                    f"{purpose} got no lock within {PATIENCE_SECONDS:.0f} seconds{holder}: {remedy}"
                ) from error
            if not told:
                log.warning(f"{purpose} waits for a lock{holder}")
                told = True
        time.sleep(PAUSE_SECONDS)


def _holder(connection: Connection) -> tuple[str, str]:
    row = connection.execute(OLDEST_TRANSACTION).fetchone()
    if row is None:
        return "", "let others finish what they do in this database, and start again."
    pid, what = row
    return (
        f"; the oldest transaction is that of process {pid} ({what})",
        f"start again when it has ended, or end it: select pg_terminate_backend({pid})",
    )
