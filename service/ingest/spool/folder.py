"""A worker's spool: a folder of its own, and those that no worker holds any more."""

import asyncio
import fcntl
import os
import re
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Self

from service.database.failures import first_line
from service.events import Event
from service.ingest.spool.segments import Segment, remove, segments, sync_folder

LOCK = "lock"
OWN_NAME = re.compile(r"\d{19}-[0-9a-f]{8}")
"""Of a worker's folder; others in the directory are somebody else's, and left alone."""
SEGMENT_BYTES = 4 * 1024 * 1024
"""A segment is closed when it is as large as this; it is replayed as a whole."""
SPARE_BYTES = 1024 * 1024
"""With less room than this on the disk the spool is full."""


class SpoolError(Exception):
    """The spool can't be used; the text is one plain line for the operator."""


class SpoolFullError(Exception):
    """The spool can't take the events: its limit is reached, or the disk is full or broken."""


@dataclass
class Held:
    """A folder that this process has locked; nobody else reads or writes it."""

    path: Path
    lock: int
    """File descriptor."""
    bytes: int
    """Of events that are on the disk."""

    def release(self) -> None:
        """Let another worker have it; a folder without events is removed."""
        if not segments(self.path):
            with suppress(OSError):
                (self.path / LOCK).unlink()
                self.path.rmdir()  # Not where damaged segments wait for people.
        os.close(self.lock)


class Spool:
    """Takes events and keeps them on the disk, up to a limit, while it is entered as a context.

    Each worker has a folder of its own in the directory, locked as long as it lives. The folders of
    workers that ended are adopted: their events are replayed by whoever finds them first.
    """

    def __init__(self, directory: Path, *, limit_bytes: int) -> None:
        self._directory = directory
        self._limit_bytes = limit_bytes
        self._held: list[Held] = []
        self._segment: Segment | None = None
        self._alone = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Lock a folder, and adopt what others have left. Raises SpoolError."""
        await asyncio.to_thread(self._open)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let go of all folders; what is in them waits for the next worker."""
        await asyncio.to_thread(self._close)

    def _open(self) -> None:
        require_writable(self._directory)
        while not self._held:
            own = self._directory / f"{time.time_ns()}-{secrets.token_hex(4)}"
            own.mkdir(mode=0o700)
            # Another worker may have adopted it just now.
            if (held := _lock(own)) is not None:
                self._held = [held]
        sync_folder(self._directory)
        self.adopt()

    def adopt(self) -> int:
        """Lock the folders that nobody holds and return how many these were. Raises OSError."""
        known = {held.path for held in self._held}
        found = [
            held
            for path in sorted(self._directory.iterdir())
            if OWN_NAME.fullmatch(path.name)
            and path not in known
            and (held := _lock(path)) is not None
        ]
        self._held += found
        return len(found)

    @property
    def bytes(self) -> int:
        """Bytes of events that are on the disk."""
        return sum(held.bytes for held in self._held)

    def is_full(self) -> bool:
        """Return whether it would take no more: its limit is reached, or the disk is full."""
        if self.bytes >= self._limit_bytes:
            return True
        try:
            disk = os.statvfs(self._directory)
        except OSError:
            return True
        return disk.f_bavail * disk.f_frsize < SPARE_BYTES

    async def append(self, events: Sequence[Event]) -> None:
        """Return once the events are on the disk for good. Raises SpoolFullError: none is."""
        async with self._alone:
            await asyncio.to_thread(self._append, events)

    def _append(self, events: Sequence[Event]) -> None:
        if self.is_full():
            raise SpoolFullError(f"{self.bytes} bytes wait in the spool, or its disk is full")
        own = self._held[0]
        try:
            if self._segment is None:
                self._segment = Segment(own.path / f"{time.time_ns():020}.events")
            own.bytes += self._segment.append(events)
        except OSError as error:
            self._close_segment()
            raise SpoolFullError(first_line(error)) from error
        if self._segment.size >= SEGMENT_BYTES:
            self._close_segment()

    def _close_segment(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    async def segments(self) -> list[Path]:
        """Return all segments, the oldest first; what comes from now on goes to another one."""
        async with self._alone:
            self._close_segment()
        return sorted(
            (path for held in self._held for path in segments(held.path)),
            key=lambda path: path.name,
        )

    async def remove(self, path: Path, *, damaged: bool) -> None:
        """Delete a segment, or set it aside where it is damaged. Raises OSError."""
        async with self._alone:
            await asyncio.to_thread(self._remove, path, damaged=damaged)

    def _remove(self, path: Path, *, damaged: bool) -> None:
        size = path.stat().st_size
        remove(path, damaged=damaged)
        for held in self._held:
            if held.path == path.parent:
                held.bytes = max(0, held.bytes - size)

    def _close(self) -> None:
        self._close_segment()
        for held in self._held:
            held.release()
        self._held = []


def require_writable(directory: Path) -> None:
    """Make a spool's directory, and raise SpoolError unless it can be written to."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryFile(dir=directory):
            pass
        sync_folder(directory.parent)
    except OSError as error:
        raise SpoolError(
            f"The spool's directory {directory} can't be written to: {error.strerror}. "
            "SPOOL_DIRECTORY names another; with SPOOL_BYTES=0 there is no spool."
        ) from None


def _lock(path: Path) -> Held | None:
    """Return a folder that this process holds from now on; None where another one does."""
    try:
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return None  # Its worker removed it just now; or it is no folder, or not for us.
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return Held(path, lock, sum(one.stat().st_size for one in segments(path)))
