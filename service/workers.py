"""Several processes that serve on one socket, and a parent that does nothing but keep them going.

Each worker is a whole service: a writer, pools and limits of its own.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any

import structlog
from prometheus_client.multiprocess import mark_process_dead

from service import server
from service.ingest.spool import require_writable
from service.metrics import FOLDER
from service.pauses import Pauses
from service.settings import Settings

log = structlog.get_logger()

# Not a fork: threads and event loops don't survive one.
SPAWN = get_context("spawn")

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the folder in it has a name of its own


def serve(
    settings: Settings,
    listener: socket.socket,
    ready: Callable[[], None] = lambda: None,
    *,
    migrated: bool = True,
) -> None:
    """Serve until a signal, in this process or in workers. Calls `ready` once all of them serve.

    Where the database could not be reached for it, it is migrated as soon as it can be. Raises
    SpoolError.
    """
    if settings.spool_bytes:
        require_writable(settings.spool_directory)
    if settings.workers == 1:
        server.serve(settings, listener, ready, migrated=migrated)
        return
    with _metrics_folder(), _stop_signals() as stop:
        Supervisor(settings, listener, ready, migrated=migrated).run(stop)


class Supervisor:
    """Starts workers, and starts again those that end, until it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        ready: Callable[[], None],
        *,
        migrated: bool,
    ) -> None:
        self._listener = listener
        self._ready = ready
        self._serving, told = SPAWN.Pipe(duplex=False)
        self._not_serving = set(range(1, settings.workers + 1))
        self._workers = [
            Worker(number, settings, listener, told, migrated)
            for number in sorted(self._not_serving)
        ]
        self._stop_seconds = _stop_seconds(settings)

    def run(self, stop: int) -> None:
        """Return once `stop` can be read from, and all workers have ended."""
        try:
            while stop not in (events := self._wait(stop)):
                if self._serving in events:
                    self._note_serving(self._serving.recv())
                for worker in self._workers:
                    worker.note_end()
        finally:
            self._end()

    def _wait(self, stop: int) -> list[Any]:
        missing = [pause for worker in self._workers if (pause := worker.started_or_pause())]
        sentinels = [worker.process.sentinel for worker in self._workers if worker.process]
        return wait([stop, self._serving, *sentinels], min(missing, default=None))

    def _note_serving(self, number: int) -> None:
        if number in self._not_serving:
            self._not_serving.remove(number)
            if not self._not_serving:
                self._ready()

    def _end(self) -> None:
        deadline = time.monotonic() + self._stop_seconds
        # While any process has it open, the kernel goes on to take connections that nobody answers.
        self._listener.close()
        for worker in self._workers:
            worker.end()
        for worker in self._workers:
            worker.wait(deadline)


class Worker:
    """A place for a process, and the time of its next start."""

    def __init__(
        self,
        number: int,
        settings: Settings,
        listener: socket.socket,
        serving: Connection,
        migrated: bool,
    ) -> None:
        self._number = number
        self._arguments = number, settings, listener, serving, migrated
        self._started = self._due = time.monotonic()
        self._pauses = Pauses()
        self.process: SpawnProcess | None = None

    def started_or_pause(self) -> float:
        """Start a process where one is due; return for how many seconds there shall be none."""
        if self.process is None:
            now = time.monotonic()
            if self._due > now:
                return self._due - now
            self._started = now
            self.process = SPAWN.Process(target=_work, args=self._arguments)
            with _keyboard_is_for_the_parent():
                self.process.start()
            log.info("worker started", worker=self._number, pid=self.process.pid)
        return 0

    def note_end(self) -> None:
        """Look whether the process has ended, and then when the next one is due."""
        if self.process is None or self.process.is_alive():
            return
        now = time.monotonic()
        pause = self._pauses.after(now - self._started)
        self._due = now + pause
        log.error(
            "worker ended",
            worker=self._number,
            pid=self.process.pid,
            exit=self.process.exitcode,
            next_in_seconds=pause,
        )
        mark_process_dead(self.process.pid)
        self.process = None

    def end(self) -> None:
        """Tell the process to end."""
        if self.process is not None:
            self.process.terminate()

    def wait(self, deadline: float) -> None:
        """Return once the process has ended; one that takes longer is killed."""
        if self.process is None:
            return
        self.process.join(max(0, deadline - time.monotonic()))
        if self.process.is_alive():
            log.error("worker killed: it did not end in time", worker=self._number)
            self.process.kill()
            self.process.join()


def _work(
    number: int, settings: Settings, listener: socket.socket, serving: Connection, migrated: bool
) -> None:
    """Serve, in a process of its own."""
    server.exit_on_signals()
    threading.Thread(target=_end_with_parent, args=[_stop_seconds(settings)], daemon=True).start()
    server.serve(settings, listener, lambda: serving.send(number), worker=number, migrated=migrated)


def _end_with_parent(stop_seconds: float) -> None:
    """Stop as if the parent said so once it is gone, however it went, and leave no files."""
    parent = parent_process()
    assert parent is not None  # noqa: S101 - for the type
    parent.join()
    rmtree(os.environ[FOLDER], ignore_errors=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(stop_seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def _stop_seconds(settings: Settings) -> float:
    # What is in flight is answered, what is queued is written or expires, and a margin.
    return settings.shutdown_seconds + settings.ingest_deadline_seconds + 1


@contextmanager
def _stop_signals() -> Iterator[int]:
    """Yield a file descriptor that can be read from once SIGINT or SIGTERM came."""
    reader, writer = os.pipe()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: os.write(writer, b".")) for number in numbers]
    try:
        yield reader
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


@contextmanager
def _keyboard_is_for_the_parent() -> Iterator[None]:
    """Let a process that is started not hear Ctrl-C: a second one would cut its answers short."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def _metrics_folder() -> Iterator[None]:
    """Let the workers count in files of a new folder."""
    # In memory where that is possible: a full disk under a mapped file kills who writes to it.
    where = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
    with TemporaryDirectory(prefix="tallymark-metrics-", dir=where) as folder:
        os.environ[FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER]
