"""The service, but that it answers once the writer has the events: what a crash would lose.

`python -m loadtest.baselines.unawaited` serves it; settings are the service's.
"""

import asyncio
from collections.abc import Sequence

from service import app
from service.database.preparation import prepare
from service.events import Event
from service.ingest.waiting import ALL_KEPT, Kept
from service.ingest.writer import Writer
from service.server import bind, exit_on_signals
from service.settings import load_settings
from service.workers import serve

ROOM_SECONDS = 0.001
"""How often a sender looks again whether the queue has room: it is as bounded as the service's."""


class UnawaitedWriter(Writer):
    """A writer that lets nobody wait for the database."""

    _writes: set[asyncio.Task[Kept]] = set()  # noqa: RUF012 - one writer a process

    async def keep(self, events: Sequence[Event], *, expires: float | None = None) -> Kept:
        """Return once the events are queued."""
        while not self._has_room(len(events)):  # noqa: ASYNC110 - the writer has no event for it
            await asyncio.sleep(ROOM_SECONDS)
        write = asyncio.create_task(super().keep(events, expires=expires))
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)
        return ALL_KEPT


def serve_until_a_signal() -> None:
    """Serve the service as it is by now."""
    exit_on_signals()
    settings = load_settings()
    listener = bind(settings.host, settings.port)
    prepare(settings.database_url, settings.retention_days)
    serve(settings, listener)


if __name__ == "__main__":
    app.Writer = UnawaitedWriter  # type: ignore[attr-defined]
    serve_until_a_signal()
