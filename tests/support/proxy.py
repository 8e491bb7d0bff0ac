"""A TCP proxy before the database, with the faults of networks."""

import asyncio
import re
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, Self

from psycopg.conninfo import conninfo_to_dict

from service.server import bind
from tests.support.databases import url_of

CHUNK_BYTES = 1 << 20
NO_TIME_TO_LINGER = struct.pack("ii", 1, 0)
"""With it, closing a socket resets the connection."""

COMMIT = re.compile(rb"[Sc]\x00\x00\x00\x04\Z")
"""Sync, which commits a statement of its own, or CopyDone."""
COMMITTED = re.compile(rb"C\x00\x00\x00.(INSERT 0|COPY) \d+\x00", re.DOTALL)
"""The answer to these."""


class Proxy:
    """Passes connections on, in a thread of its own, while it is entered as a context."""

    def __init__(self, database_url: str) -> None:
        parts = conninfo_to_dict(database_url)
        self._target = str(parts.get("host", "127.0.0.1")), int(parts.get("port") or 5432)
        self._listener = bind("127.0.0.1", 0)
        self.url = url_of(
            database_url, str(parts["dbname"]), port=int(self._listener.getsockname()[1])
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusing = False
        self._cut_at: re.Pattern[bytes] | None = None
        self.delay_seconds = 0.0
        """Each way."""
        self.cuts = 0
        """How often `cut_at` has cut."""

    def __enter__(self) -> Self:
        """Start to pass connections on."""
        self._thread.start()
        self._in_loop(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        """Cut what is open."""
        self._in_loop(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def hold(self) -> None:
        """Take everything and pass nothing on, as a network that has become a black hole."""
        self._soon(self._flowing.clear)

    def cut(self) -> None:
        """Reset the service's connections."""
        self._soon(self._reset_all)

    def refuse(self) -> None:
        """Reset the service's connections, and each one that it opens, until `pass_on`."""
        self._refusing = True
        self.cut()

    def cut_at(self, pattern: re.Pattern[bytes]) -> None:
        """Reset the next connection on which this passes, and its request is still delivered."""
        self._cut_at = pattern

    def pass_on(self) -> None:
        """Be a network again; what was held is delivered late."""
        self._refusing = False
        self._cut_at = None
        self._soon(self._flowing.set)

    def _in_loop(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _soon(self, function: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(function)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, sock=self._listener, limit=CHUNK_BYTES
        )

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _reset_all(self) -> None:
        for client in self._clients:
            _reset(client)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._clients.add(client)
        try:
            if not self._refusing:
                await self._connect(reader, client)
        except (OSError, asyncio.CancelledError):
            pass  # One of the two has gone away, or the proxy ends.
        finally:
            _reset(client)
            self._clients.remove(client)
            self._tasks.remove(task)

    async def _connect(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        answers, server = await asyncio.open_connection(*self._target, limit=CHUNK_BYTES)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, server, deliver=True))
                group.create_task(self._pass(answers, client, deliver=False))
        except* OSError:
            pass
        finally:
            server.close()

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, deliver: bool
    ) -> None:
        """Pass one direction on; `deliver` says whether what is cut at still is."""
        while data := await source.read(CHUNK_BYTES):
            await asyncio.sleep(self.delay_seconds)
            await self._flowing.wait()
            cut = self._cut_at is not None and self._cut_at.search(data) is not None
            if deliver or not cut:
                sink.write(data)
                await sink.drain()
            if cut:
                self._cut_at = None
                self.cuts += 1
                raise ConnectionResetError
        with suppress(OSError):
            sink.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection by RST: what has not been sent is thrown away."""
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, NO_TIME_TO_LINGER)
    writer.transport.abort()
