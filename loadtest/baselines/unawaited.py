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


class UnawaitedWriter(Writer):
    """A writer that lets nobody wait for the database."""

    _writes: set[asyncio.Task[Kept]] = set()  # noqa: RUF012 - one writer a process
    _taken = asyncio.Event()

    async def keep(self, events: Sequence[Event], *, expires: float | None = None) -> Kept:
        """Return once the events are queued; the queue is as bounded as the service's."""
        while not self._has_room(len(events)):
            await self._taken.wait()
        write = asyncio.create_task(super().keep(events, expires=expires))
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)
        return ALL_KEPT

    def _begin_group(self, tasks: asyncio.TaskGroup) -> None:
        super()._begin_group(tasks)
        self._taken.set()
        self._taken.clear()


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
