"""Brings the database to what the service needs: before it serves, or behind it."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from service.database.checks import warn_of_losses
from service.database.migrations import DatabaseError, migrate
from service.database.retention import set_retention, warn_of_other_retention
from service.database.rights import may_migrate, require_current, require_same_database

log = structlog.get_logger()

RETRY_SECONDS = 1.0


def prepare(
    database_url: str, retention_days: int | None, owners_url: str | None = None
) -> list[str]:
    """Migrate, set how long events are kept, and warn of what may lose them.

    The owner does it, by its own URL where there is one. A role that may not only looks whether
    all is as it should be. Returns the names of the migrations that were applied. Raises
    DatabaseError.
    """
    applied: list[str] = []
    if owners_url is not None or may_migrate(database_url):
        applied = migrate(owners_url or database_url)
        if owners_url is not None:
            require_same_database(database_url, owners_url)
        # Only then: it lets events go.
        set_retention(owners_url or database_url, retention_days)
    else:
        require_current(database_url)
        warn_of_other_retention(database_url, retention_days)
    warn_of_losses(database_url)
    return applied


@asynccontextmanager
async def migrating(
    database_url: str, retention_days: int | None, owners_url: str | None = None
) -> AsyncIterator[None]:
    """Try to prepare the database, behind what is done while this is entered, until it succeeds.

    A stop does not wait for what is under way: it ends with the process, and is rolled back.
    """
    stopping = threading.Event()
    arguments = stopping, database_url, retention_days, owners_url
    threading.Thread(target=_prepare, args=arguments, name="migration", daemon=True).start()
    try:
        yield
    finally:
        stopping.set()


def _prepare(stopping: threading.Event, *arguments: Any) -> None:
    told = ""
    while not stopping.is_set():
        try:
            prepare(*arguments)
        except DatabaseError as error:
            if str(error) != told:
                log.error("database is not prepared", error=str(error))
                told = str(error)
        else:
            log.info("database is prepared")
            return
        stopping.wait(RETRY_SECONDS)
