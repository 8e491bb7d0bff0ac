"""Batches are parsed one at a time; how many bytes wait for that, and how long, is bounded."""

import asyncio
import time

from service.ingest.batches import Parsed, parse_batch
from service.ingest.bodies import BATCH
from service.ingest.inflating import inflate
from service.ingest.room import Room
from service.ingest.waiting import too_late
from service.rounding import Rounding


class Parser:
    """Parses the bodies of batches, in a thread: other requests have their turn meanwhile."""

    def __init__(self, room: Room, rounded: Rounding | None) -> None:
        self._room = room
        self._rounded = rounded
        # One at a time, so that few are held inflated and as objects.
        self._turn = asyncio.Lock()

    async def parse(
        self, body: bytes, coding: str, media_type: str, site_id: int, *, expires: float
    ) -> list[Parsed]:
        """Return what the body, of a site, holds, once it is its turn.

        Raises Problem where too many bytes wait already, or its turn has not come when it expires
        (seconds of time.monotonic()), and as inflate() and parse_batch().
        """
        await self._wait(len(body), expires)
        try:
            return await asyncio.to_thread(self._parse, body, coding, media_type, site_id)
        finally:
            self._turn.release()

    async def _wait(self, size: int, expires: float) -> None:
        self._room.take(size)
        try:
            async with asyncio.timeout(expires - time.monotonic()):
                await self._turn.acquire()
        except TimeoutError:
            raise too_late() from None
        finally:
            self._room.give_back(size)

    def _parse(self, body: bytes, coding: str, media_type: str, site_id: int) -> list[Parsed]:
        text = inflate(body, coding, BATCH.max_bytes)
        return parse_batch(text, media_type, site_id, self._rounded)
