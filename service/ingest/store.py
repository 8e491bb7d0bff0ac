"""Writes groups of events in one transaction each, over one connection that it renews."""

import asyncio
from collections.abc import Sequence

from psycopg import AsyncConnection
from psycopg.adapt import Dumper
from psycopg.errors import ReadOnlySqlTransaction
from psycopg.pq import Format

from service.database.connections import connect, load_query, within
from service.events import Event
from service.ingest.encoding import COPY_EVENTS, encode_arrays, encode_copy

# From so many events on, COPY's second round trip costs less than unnest (docs/performance.md).
COPY_FROM_EVENTS = 64

CHECK_SECONDS = 2.0
"""How long a database may take to say that it takes writes."""


class BinaryArray(bytes):
    """An array in PostgreSQL's binary format; the statement's cast says of what."""


class BinaryArrayDumper(Dumper):
    """Passes a BinaryArray on as it is."""

    format = Format.BINARY
    oid = 0

    def dump(self, obj: BinaryArray) -> bytes:
        """Return the array's bytes."""
        return obj


class Store:
    """One connection to write by; opened at the first write, and again after it broke."""

    def __init__(self, database_url: str, *, deadline_seconds: float) -> None:
        self._database_url = database_url
        self._deadline_seconds = deadline_seconds
        self._insert = load_query("insert_events")
        self._connection: AsyncConnection | None = None

    async def write(self, events: Sequence[Event], *, again: bool = False) -> None:
        """Commit all of the events, or none and raise what psycopg raised, or TimeoutError.

        After TimeoutError or a broken connection the outcome is unknown; with `again` rows that
        are stored already do no harm.
        """
        try:
            await within(self._deadline_seconds, self._write(events, again=again))
        except TimeoutError:
            self._connection = None
            raise

    async def _write(self, events: Sequence[Event], *, again: bool) -> None:
        connection = await self._connected()
        try:
            if again or len(events) < COPY_FROM_EVENTS:
                arrays = [BinaryArray(array) for array in encode_arrays(events)]
                await connection.execute(self._insert, arrays, prepare=True)
            else:
                async with connection.cursor().copy(COPY_EVENTS) as copy:
                    await copy.write(encode_copy(events))
        except (asyncio.CancelledError, ReadOnlySqlTransaction):
            await connection.close()
            raise

    async def check(self) -> None:
        """Raise what psycopg raises, TimeoutError, or OSError, unless the database takes writes."""
        try:
            await within(min(CHECK_SECONDS, self._deadline_seconds), self._check())
        except TimeoutError:
            self._connection = None
            raise

    async def _check(self) -> None:
        connection = await self._connected()
        try:
            cursor = await connection.execute("show transaction_read_only")
            if await cursor.fetchone() != ("off",):
                # A session keeps what it began with: a new one shall ask again.
                await self.close()
                raise OSError("the database is read-only")
        except asyncio.CancelledError:
            await connection.close()
            raise

    async def close(self) -> None:
        """Give the connection up; the next write opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connected(self) -> AsyncConnection:
        if self._connection is None or self._connection.closed:
            self._connection = await connect(
                self._database_url, statement_timeout_seconds=self._deadline_seconds
            )
            self._connection.adapters.register_dumper(BinaryArray, BinaryArrayDumper)
        return self._connection
