"""Whether the database takes events: what writes say, and probes while it is away."""

import asyncio

import structlog

from service.database.failures import Failure, first_line
from service.ingest.writing import GroupStore
from service.metrics import count_database_error

log = structlog.get_logger()

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
"""Between probes of a database that is away."""
LONGEST_DISTRUST_SECONDS = 8.0
"""The first of these pauses, where probe after probe succeeds and the write after it fails."""


class Presence:
    """What is known of the database, as far as the writer is concerned."""

    def __init__(self, store: GroupStore) -> None:
        self._store = store
        self._gone = asyncio.Event()
        self._pause = FIRST_PAUSE_SECONDS
        self.away: str | None = None
        """Why events can't be written at the moment; None while they can."""
        self.outages = 0
        """How often they could not be."""

    def note_written(self) -> None:
        """Take note that events were committed."""
        self._pause = FIRST_PAUSE_SECONDS
        self._note_back()

    def note_failed(self, error: BaseException) -> Failure:
        """Take note that a write failed, and return what that means."""
        failure = count_database_error(error)
        if failure is not Failure.RETRY:
            if self.away is None:
                self.outages += 1
                log.error("database is away", failure=failure.value, error=first_line(error))
            self.away = first_line(error)
            self._gone.set()
        return failure

    def _note_back(self) -> None:
        if self.away is not None:
            log.info("database is back")
            self.away = None
            self._gone.clear()

    async def probe(self) -> None:
        """Ask the database."""
        try:
            await self._store.check()
        except Exception as error:
            self.note_failed(error)
        else:
            self._note_back()

    async def seek(self) -> None:
        """Probe while the database is away, for ever."""
        while True:
            await self._gone.wait()
            pause = self._pause
            # Doubled until events are written again.
            self._pause = min(2 * self._pause, LONGEST_DISTRUST_SECONDS)
            while self.away is not None:
                await asyncio.sleep(pause)
                await self.probe()
                pause = min(2 * pause, max(pause, LONGEST_PAUSE_SECONDS))
