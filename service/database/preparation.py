"""Brings the database to what the service needs: before it serves, or behind it."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from service.database.checks import warn_of_losses
from service.database.migrations import DatabaseError, migrate
from service.database.retention import set_retention

log = structlog.get_logger()

RETRY_SECONDS = 1.0


def prepare(database_url: str, retention_days: int | None) -> list[str]:
    """Migrate, set how long events are kept, and warn of what may lose them.

    Returns the names of the migrations that were applied. Raises DatabaseError.
    """
    applied = migrate(database_url)
    set_retention(database_url, retention_days)
    warn_of_losses(database_url)
    return applied


@asynccontextmanager
async def migrating(database_url: str, retention_days: int | None) -> AsyncIterator[None]:
    """Try to prepare the database, behind what is done while this is entered, until it succeeds.

    A stop does not wait for what is under way: it ends with the process, and is rolled back.
    """
    stopping = threading.Event()
    arguments = database_url, retention_days, stopping
    threading.Thread(target=_prepare, args=arguments, name="migration", daemon=True).start()
    try:
        yield
    finally:
        stopping.set()


def _prepare(database_url: str, retention_days: int | None, stopping: threading.Event) -> None:
    told = ""
    while not stopping.is_set():
        try:
            prepare(database_url, retention_days)
        except DatabaseError as error:
            if str(error) != told:
                log.error("database is not prepared", error=str(error))
                told = str(error)
        else:
            log.info("database is prepared")
            return
        stopping.wait(RETRY_SECONDS)
