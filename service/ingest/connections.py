"""The connections that write: one for each write at a time, or as many as the server has."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.errors import ReadOnlySqlTransaction

from service.database.failures import first_line

log = structlog.get_logger()

REFUSED_SECONDS = 10.0
"""After one was refused no further connection is asked for so long, while there are others."""


class WriteConnections:
    """Opened when needed, and again after one broke; waited for where no more can be had."""

    def __init__(self, connect: Callable[[], Awaitable[AsyncConnection]]) -> None:
        self._connect = connect
        self._idle: list[AsyncConnection] = []
        self._used = 0
        """How many are in use, or being opened."""
        self._returned = asyncio.Event()
        self._ask_again = 0.0
        """When it is tried again to open one beside others; seconds of time.monotonic()."""
        self._are_few = False
        self._closed = 0
        """How often all connections were given up."""

    @asynccontextmanager
    async def one(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection; close it if its statement is given up, or it can't write.

        Raises psycopg.OperationalError where none can be had, not even later.
        """
        closed = self._closed
        connection = await self._obtain()
        try:
            yield connection
        except (asyncio.CancelledError, ReadOnlySqlTransaction):
            await connection.close()
            raise
        finally:
            self._note_unused()
            if connection.closed:
                # The others may have broken with it.
                await self.close()
            elif closed != self._closed:
                await connection.close()
            else:
                self._idle.append(connection)

    async def close(self) -> None:
        """Give all up, those in use once they are not."""
        self._closed += 1
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()

    async def _obtain(self) -> AsyncConnection:
        """Return an idle connection, else a new one, else the next that is not in use any more."""
        refused = None
        while not self._idle:
            if self._used and time.monotonic() < self._ask_again:
                self._returned.clear()
                await self._returned.wait()
                continue
            try:
                return await self._open()
            except psycopg.OperationalError as error:
                # Why can't be told: what the server says has no SQLSTATE before it has let one in.
                if not self._used and not self._idle:
                    raise
                self._ask_again = time.monotonic() + REFUSED_SECONDS
                refused = error
        if refused is not None:
            self._note_few(refused)
        self._used += 1
        # The one that was used longest ago, so that none gets stale unnoticed.
        return self._idle.pop(0)

    async def _open(self) -> AsyncConnection:
        self._used += 1
        try:
            connection = await self._connect()
        except BaseException:
            self._note_unused()
            raise
        if self._used > 1:
            self._are_few = False
        return connection

    def _note_unused(self) -> None:
        self._used -= 1
        self._returned.set()

    def _note_few(self, refused: Exception) -> None:
        """Tell once that there are fewer connections than were asked for."""
        if not self._are_few:
            self._are_few = True
            log.warning(
                "no further connection to write by",
                error=first_line(refused),
                advice="Groups of events wait for one that is in use. "
                "Lower INGEST_CONNECTIONS, or let the server have more.",
            )
