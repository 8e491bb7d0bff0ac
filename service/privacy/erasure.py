"""Erases a user, a transaction after the other: at any moment it may end, and be begun again."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection

from service.database.connections import connect, load_query
from service.database.failures import Failure, classify
from service.database.retention import refresh_beside
from service.events import Event
from service.ingest.writing import PAUSES_SECONDS
from service.privacy.parameters import UserQuery
from service.privacy.spooled import erase_spooled

MOST_EVENTS = 1000
"""In a transaction."""
STATEMENT_SECONDS = 60.0

CHUNKS = load_query("event_chunks")
IDENTITY = load_query("database_identity")
ERASE_EVENTS = load_query("erase_user_events")
ERASE_REJECTS = load_query("erase_user_rejects")
ALIAS = load_query("alias_user")

Result = TypeVar("Result")
Range = tuple[datetime, datetime]


@dataclass
class Erased:
    """How much was erased so far."""

    events: int = 0
    rejected: int = 0
    """Events that the database had refused."""
    spooled: int = 0
    """Events that were in a spool of this machine."""
    still_spooled: int = 0
    """Events in spools that are in use: they come to the database, and can be erased there."""

    def numbers(self) -> dict[str, int]:
        """Return them by their names."""
        return asdict(self)


class Erasure:
    """The end of all that is kept of a user, at a site or at all of them.

    Counts are exact at every moment. Events that arrive meanwhile may be left.
    """

    def __init__(self, database_url: str, spool_directory: Path, query: UserQuery) -> None:
        self._database_url = database_url
        self._spool_directory = spool_directory
        self._query = query
        self._seen: set[Range] = set()
        self.erased = Erased()

    async def run(self) -> Erased:
        """Return how much was erased. Raises what psycopg raises, and OSError of the spool."""
        connecting = connect(self._database_url, statement_timeout_seconds=STATEMENT_SECONDS)
        async with await connecting as connection:
            await self._erase_spooled(connection)
            await self._erase_events(connection)
            self.erased.rejected += await self._number(connection, ERASE_REJECTS)
            if self._seen:
                # Else the id stays in the aggregates until their policies have come to it.
                await refresh_beside(
                    self._database_url,
                    min(start for start, _ in self._seen),
                    max(end for _, end in self._seen),
                )
            await self._number(connection, ALIAS)
        return self.erased

    async def _erase_spooled(self, connection: AsyncConnection) -> None:
        row = await (await connection.execute(IDENTITY)).fetchone()
        user, site = self._query.user_id.encode(), self._query.site

        def is_theirs(event: Event) -> bool:
            return event.user_id == user and site in (None, event.site_id)

        spooled, still_spooled = await asyncio.to_thread(
            erase_spooled, self._spool_directory, is_theirs, row[0] if row else ""
        )
        self.erased.spooled += spooled
        self.erased.still_spooled = still_spooled

    async def _erase_events(self, connection: AsyncConnection) -> None:
        # Each day by itself: a statement over all of them would plan, and lock, each chunk.
        while ranges := await self._new_ranges(connection):
            for start, end in ranges:
                bounds = {"range_start": start, "range_end": end, "most": MOST_EVENTS}
                erased = MOST_EVENTS
                while erased == MOST_EVENTS:
                    erased = await self._number(connection, ERASE_EVENTS, **bounds)
                    self.erased.events += erased
                self._seen.add((start, end))

    async def _new_ranges(self, connection: AsyncConnection) -> list[Range]:
        rows = await (await connection.execute(CHUNKS)).fetchall()
        return [(start, end) for start, end in rows if (start, end) not in self._seen]

    async def _number(self, connection: AsyncConnection, statement: bytes, **more: Any) -> int:
        async def ask() -> int:
            cursor = await connection.execute(statement, self._query.values() | more)
            (number,) = await cursor.fetchone() or (0,)
            return int(number)

        return await _again(ask)


async def _again(work: Callable[[], Awaitable[Result]]) -> Result:
    """Return what a transaction returns; it is tried again where another one was in its way."""
    for pause in PAUSES_SECONDS:
        try:
            return await work()
        except psycopg.Error as error:
            if classify(error) is not Failure.RETRY:
                raise
        await asyncio.sleep(pause)
    return await work()
