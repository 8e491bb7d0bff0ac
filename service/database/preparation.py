"""Brings the database to what the service needs: before it serves, or behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from service.database.checks import warn_of_losses
from service.database.migrations import DatabaseError, migrate
from service.database.retention import set_retention

log = structlog.get_logger()

RETRY_SECONDS = 1.0


def prepare(database_url: str, retention_days: int | None) -> None:
    """Migrate, set how long events are kept, and warn of what may lose them.

    Raises DatabaseError.
    """
    migrate(database_url)
    set_retention(database_url, retention_days)
    warn_of_losses(database_url)


@asynccontextmanager
async def migrating(database_url: str, retention_days: int | None) -> AsyncIterator[None]:
    """Try to prepare the database, behind what is done while this is entered, until it succeeds."""
    task = asyncio.create_task(_prepare(database_url, retention_days), name="migration")
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _prepare(database_url: str, retention_days: int | None) -> None:
    told = ""
    while True:
        try:
            await asyncio.to_thread(prepare, database_url, retention_days)
        except DatabaseError as error:
            if str(error) != told:
                log.error("database is not prepared", error=str(error))
                told = str(error)
        else:
            log.info("database is prepared")
            return
        await asyncio.sleep(RETRY_SECONDS)
