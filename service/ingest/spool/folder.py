"""A process's spool: a folder of its own, and those that no process holds any more."""

import asyncio
import errno
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Self

import structlog

from service.beside import comes
from service.database.failures import first_line
from service.events import Event
from service.ingest.spool.held import Held, database_of, folders, lock_orphans, new_folder
from service.ingest.spool.segments import Segment, keep_only, remove, segments, sync_folder

log = structlog.get_logger()

SEGMENT_BYTES = 4 * 1024 * 1024
"""A segment is closed when it is as large as this; it is replayed as a whole."""
SPARE_BYTES = 1024 * 1024
"""With less room than this on the disk the spool is full."""
LOOK_SECONDS = 1.0
"""How often it is looked whether the disk has room; each group of events looks, too."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class SpoolError(Exception):
    """The spool can't be used; the text is one plain line for the operator."""


class SpoolFullError(Exception):
    """The spool can't take the events: its limit is reached, or the disk is full or broken."""


class Spool:
    """Takes events and keeps them on the disk, up to a limit, while it is entered as a context.

    Each process has a folder of its own in the directory, locked as long as it lives. The folders
    of those that ended are adopted: their events are replayed by whoever finds them first. The
    limit is the own folder's. A disk may be slow: none of what asks it runs in the event loop.
    """

    def __init__(self, directory: Path, *, limit_bytes: int) -> None:
        self._directory = directory
        self._limit_bytes = limit_bytes
        self._own: Held | None = None
        """None as long as the disk has had no room for a folder."""
        self._adopted: list[Held] = []
        self._database: str | None = None
        """Which database the events are for, as soon as that is known."""
        self.foreign = 0
        """How many folders in the directory are for another database."""
        self._segment: Segment | None = None
        self._disk_is_full = False
        self._alone = asyncio.Lock()
        self._closing = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Lock a folder, and adopt what others have left. Raises SpoolError."""
        await asyncio.to_thread(self._open)
        self._looking = asyncio.create_task(self._look_regularly(), name="spool's disk")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let go of all folders; what is in them waits for the next process."""
        self._closing.set()
        if self._looking is not None:
            await self._looking
        await asyncio.to_thread(self._close)

    def _open(self) -> None:
        require_writable(self._directory)
        self.adopt()
        self._look()
        if self._disk_is_full:
            log.warning("spool's disk is full: it takes events once there is room")

    async def _look_regularly(self) -> None:
        while not self._closing.is_set():
            await comes(self._closing, within=LOOK_SECONDS)
            async with self._alone:
                await asyncio.to_thread(self._look)

    def _look(self) -> None:
        """Find out whether the disk has room; make, and mark, what there was none for before."""
        try:
            if self._own is None:
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._own = new_folder(self._directory)
            disk = os.statvfs(self._directory)
            self._disk_is_full = disk.f_bavail * disk.f_frsize < SPARE_BYTES
        except OSError:
            self._disk_is_full = True
        self._mark()

    def _mark(self) -> None:
        for one in self._held:
            if self._database is not None:
                with suppress(OSError):  # It is tried again.
                    one.bind(self._database)

    @property
    def _held(self) -> list[Held]:
        return self._adopted if self._own is None else [self._own, *self._adopted]

    async def bind(self, database: str) -> None:
        """Let the events be for this database, and let go of what is for others."""
        async with self._alone:
            await asyncio.to_thread(self._bind, database)

    def _bind(self, database: str) -> None:
        self._database = database
        if self._own is not None and not self._is_ours(self._own):
            self._close_segment()
            self._own.release()
            self._own = None
        self._adopted = self._without_foreign(self._adopted)
        self._look()

    def _is_ours(self, one: Held) -> bool:
        return one.database in {None, self._database}

    def _without_foreign(self, some: list[Held]) -> list[Held]:
        for one in some:
            if not self._is_ours(one):
                one.release()
        return [one for one in some if self._is_ours(one)]

    def adopt(self) -> int:
        """Lock the folders that nobody holds and return how many these were. Raises OSError.

        Those of another database are left alone; all that are of any, as long as ours is not known.
        """
        known = {one.path for one in self._held}
        orphans = {path for path in folders(self._directory) if path not in known}
        ours = {path for path in orphans if database_of(path) in {None, self._database}}
        # One may have been marked just now.
        found = self._without_foreign(lock_orphans(sorted(ours)))
        self._adopted = [*self._adopted, *found]
        if self._database is not None:
            self._note_foreign(len(orphans - ours))
        return len(found)

    def _note_foreign(self, folders: int) -> None:
        if folders and not self.foreign:
            log.error(
                "spools of another database are left alone",
                spools=folders,
                directory=str(self._directory),
            )
        self.foreign = folders

    @property
    def bytes(self) -> int:
        """Bytes of events that are on the disk, in adopted folders too."""
        return sum(one.bytes for one in self._held)

    def is_full(self) -> bool:
        """Return whether it would take no more: its limit is reached, or the disk was full."""
        # What others have left was within their limits, and must not keep new events out.
        own_bytes = 0 if self._own is None else self._own.bytes
        return self._disk_is_full or own_bytes >= self._limit_bytes

    async def append(self, events: Sequence[Event]) -> None:
        """Return once the events are on the disk for good. Raises SpoolFullError: none is."""
        async with self._alone:
            await asyncio.to_thread(self._append, events)

    def _append(self, events: Sequence[Event]) -> None:
        self._look()
        own = self._own
        if own is None or self.is_full():
            raise SpoolFullError(f"{self.bytes} bytes wait in the spool, or its disk is full")
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
            return await asyncio.to_thread(self._segments)

    def _segments(self) -> list[Path]:
        self._close_segment()
        found = [path for one in self._held for path in segments(one.path)]
        return sorted(found, key=lambda path: path.name)

    async def remove(self, path: Path, *, damaged: bool, left: Sequence[Event] = ()) -> None:
        """Delete a segment but for the events that are left; set it aside where it is damaged.

        Raises OSError: it is as it was.
        """
        async with self._alone:
            await asyncio.to_thread(self._remove, path, damaged=damaged, left=left)

    def _remove(self, path: Path, *, damaged: bool, left: Sequence[Event]) -> None:
        size = path.stat().st_size
        if left:
            size -= keep_only(path, left, damaged=damaged)
        else:
            remove(path, damaged=damaged)
        for one in self._held:
            if one.path == path.parent:
                one.bytes = max(0, one.bytes - size)

    def _close(self) -> None:
        self._close_segment()
        for one in self._held:
            one.release()
        self._own, self._adopted = None, []


def require_writable(directory: Path) -> None:
    """Make a spool's directory, and raise SpoolError unless it can be written to.

    A disk that has no room is none of that: it may have some later.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryFile(dir=directory):
            pass
        sync_folder(directory.parent)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise SpoolError(
                f"The spool's directory {directory} can't be written to: {error.strerror}. "
                "SPOOL_DIRECTORY names another; with SPOOL_BYTES=0 there is no spool."
            ) from None
