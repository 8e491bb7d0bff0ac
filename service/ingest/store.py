"""Writes groups of events in one transaction each, over connections that it renews."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.adapt import Dumper
from psycopg.pq import Format
from pydantic_core import to_json

from service.database.connections import connect, load_query, within
from service.database.failures import first_line
from service.database.migrations import load_migrations
from service.events import Event
from service.ingest.connections import WriteConnections
from service.ingest.encoding import COPY_EVENTS, encode_arrays, encode_copy
from service.tracing import span

# From so many events on, COPY's second round trip costs less than unnest (docs/performance.md).
COPY_FROM_EVENTS = 64

CHECK_SECONDS = 2.0
"""How long a database may take to say that it takes writes; half of the deadline at most, as what
arrives meanwhile must still come into the spool in time."""


_BY_ID = attrgetter("event_id")


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
    """Where events are stored, and those that are refused set aside."""

    def __init__(self, database_url: str, *, deadline_seconds: float) -> None:
        self._database_url = database_url
        self._deadline_seconds = deadline_seconds
        self._insert = load_query("insert_events")
        self._insert_rejected = load_query("insert_rejected_event")
        self._can_write = load_query("can_write")
        self._newest_migration = load_migrations()[-1].version
        self._retained = load_query("retained_from")
        self._identity = load_query("database_identity")
        self._connections = WriteConnections(self._connect)

    async def write(self, events: Sequence[Event], *, again: bool = False) -> Sequence[bytes]:
        """Commit all of the events, or none and raise what psycopg raised, or TimeoutError.

        After TimeoutError or a broken connection the outcome is unknown; with `again` rows that
        are stored already do no harm, and their ids are returned.
        """
        if again:
            # In one order, so that two groups with the same ids never wait for each other. It costs
            # 0.3 us an event, and saves the index as much (docs/performance.md).
            events = sorted(events, key=_BY_ID)
        with span("flush", events=len(events)):
            return await within(self._deadline_seconds, self._write(events, again=again))

    async def _write(self, events: Sequence[Event], *, again: bool) -> Sequence[bytes]:
        async with self._connections.one() as connection:
            if again or len(events) < COPY_FROM_EVENTS:
                arrays = [BinaryArray(array) for array in encode_arrays(events)]
                cursor = await connection.execute(self._insert, arrays, prepare=True, binary=True)
                if cursor.rowcount == len(events):
                    return ()
                return _others(events, {event_id.bytes for (event_id,) in await cursor.fetchall()})
            async with connection.cursor().copy(COPY_EVENTS) as copy:
                await copy.write(encode_copy(events))
        return ()

    async def set_aside(self, event: Event, error: BaseException) -> None:
        """Put an event that the database refuses into rejected_events, or raise as write()."""
        await within(self._deadline_seconds, self._set_aside(event, error))

    async def _set_aside(self, event: Event, error: BaseException) -> None:
        values = {
            "event_id": UUID(bytes=event.event_id),
            "site": event.site_id,
            "body": _body(event),
            "sqlstate": getattr(error, "sqlstate", None),
            "reason": first_line(error),
        }
        async with self._connections.one() as connection:
            await connection.execute(self._insert_rejected, values)

    async def check(self) -> None:
        """Raise what psycopg raises, TimeoutError, or OSError, unless events can be written."""
        await within(self._check_seconds, self._check())

    async def _check(self) -> None:
        async with self._connections.one() as connection, connection.transaction():
            # Refused without the table, and while somebody has it for himself.
            await connection.execute("lock table events in row exclusive mode nowait")
            cursor = await connection.execute(self._can_write, [self._newest_migration])
            writable, migrated = await cursor.fetchone() or (False, False)
        if not writable:
            # A session keeps what it began with: a new one shall ask again.
            await self.close()
            raise OSError("the database is read-only")
        if not migrated:
            raise OSError("the database has not the schema of this version yet")

    async def retained_from(self) -> int:
        """Return since when events are kept, as microseconds since 1970. Raises as check()."""
        return int(await within(self._deadline_seconds, self._value(self._retained)))

    async def identity(self) -> str:
        """Return which database it is, however it is reached. Raises as check()."""
        return str(await within(self._check_seconds, self._value(self._identity)))

    @property
    def _check_seconds(self) -> float:
        return min(CHECK_SECONDS, self._deadline_seconds / 2)

    async def _value(self, query: bytes) -> Any:
        async with self._connections.one() as connection:
            cursor = await connection.execute(query)
            (value,) = await cursor.fetchone() or (None,)
        return value

    async def close(self) -> None:
        """Give all connections up, those in use once they are not; the next write opens another."""
        await self._connections.close()

    async def _connect(self) -> AsyncConnection:
        connection = await connect(
            self._database_url, statement_timeout_seconds=self._deadline_seconds
        )
        connection.adapters.register_dumper(BinaryArray, BinaryArrayDumper)
        return connection


def _others(events: Sequence[Event], stored: set[bytes]) -> list[bytes]:
    """Return the ids, one for each event, that were not stored just now."""
    others = []
    for event in events:
        if event.event_id in stored:
            stored.remove(event.event_id)
        else:
            others.append(event.event_id)
    return others


def _body(event: Event) -> bytes:
    """Return an event as JSON that POST /events would take, if the database took it."""
    head = {
        "event_id": str(UUID(bytes=event.event_id)),
        "user_id": event.user_id.decode(),
        "event_type": event.event_type,
    }
    return b'%s,"payload":%s}' % (to_json(head)[:-1], event.payload)
