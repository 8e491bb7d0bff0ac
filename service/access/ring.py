"""The keys in memory, by which requests are checked; the database is asked again every minute."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import structlog

from service.access.files import KeysFile
from service.access.keys import Key
from service.beside import beside, comes
from service.database.connections import connect, load_query, within
from service.database.failures import first_line

log = structlog.get_logger()

LIVE_KEYS = load_query("live_keys")
READ_SECONDS = 2.0
"""How long the database may take to tell them."""
AGAIN_SECONDS = 1.0
"""After an attempt that failed."""
APART_SECONDS = 0.5
"""For unknown keys the database is not asked more often."""


class Keyring:
    """The keys that are valid, by their ids."""

    def __init__(self, database_url: str, file: KeysFile | None, *, refresh_seconds: float) -> None:
        self._database_url = database_url
        self._file = file
        self._refresh_seconds = refresh_seconds
        self._keys: dict[str, Key] = {}
        self._looked_at = -APART_SECONDS
        """When it was asked for what is known; seconds of time.monotonic()."""
        self._looking = asyncio.Lock()
        self.is_current = False
        """Whether the database told the keys when it was last asked."""

    def find(self, key_id: str) -> Key | None:
        """Return the key of an id, if it is valid as far as is known."""
        key = self._keys.get(key_id)
        return None if key is None or key.is_over(time.time()) else key

    async def find_anew(self, key_id: str) -> Key | None:
        """Return the key of an id; where it is not known, ask the database, if that is there.

        Many may want it at once: the database is asked for all of them together.
        """
        wanted = time.monotonic()
        async with self._looking:
            if self.is_current and self._looked_at < wanted:
                await asyncio.sleep(max(0, self._looked_at + APART_SECONDS - wanted))
                await self._look()
        return self.find(key_id)

    @asynccontextmanager
    async def refreshed(self) -> AsyncIterator[None]:
        """Know the keys, and read them again every now and then, while it is entered."""
        if self._file is not None:
            self._note(await asyncio.to_thread(self._file.read))
        async with self._looking:
            await self._look(first=True)
        async with beside(self._refresh_until, name="keys"):
            yield

    async def _refresh_until(self, closing: asyncio.Event) -> None:
        while not await comes(closing, within=self._pause_seconds):
            async with self._looking:
                await self._look()

    @property
    def _pause_seconds(self) -> float:
        often = self._refresh_seconds
        return often if self.is_current else min(AGAIN_SECONDS, often)

    async def _look(self, *, first: bool = False) -> None:
        begun = time.monotonic()
        try:
            keys = await within(READ_SECONDS, self._read())
        except (psycopg.Error, TimeoutError, OSError) as error:
            if self.is_current or first:
                log.warning("keys are not refreshed", error=first_line(error))
            self.is_current = False
        else:
            if not self.is_current and not first:
                log.info("keys are refreshed again")
            self.is_current = True
            self._note(keys)
            if self._file is not None:
                await asyncio.to_thread(self._file.write, keys)
        self._looked_at = begun

    def _note(self, keys: list[Key]) -> None:
        self._keys = {key.id: key for key in keys}

    async def _read(self) -> list[Key]:
        # Once a minute a connection is cheaper to make than to keep.
        connecting = connect(self._database_url, statement_timeout_seconds=READ_SECONDS)
        async with await connecting as connection:
            cursor = await connection.execute(LIVE_KEYS)
            return [Key(*row) for row in await cursor.fetchall()]
