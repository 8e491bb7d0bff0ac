"""The files of a spool: written at their end until they are large enough, read once, deleted."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from service.events import Event
from service.ingest.spool.records import decode, encode

SUFFIX = ".events"
DAMAGED = ".damaged"
NEW = ".new"
"""Of a file that is about to take a segment's place."""


class Segment:
    """A file that takes events, one process's own. All of its methods block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self.size = 0
        """Bytes that are on the disk for good."""
        try:
            sync_folder(path.parent)
        except OSError:
            self.close()
            raise

    def append(self, events: Iterable[Event]) -> int:
        """Put events on the disk for good and return their bytes.

        Raises OSError; none of them is in the file then, and it must not be appended to again: what
        a failed fsync leaves in memory is not known.
        """
        data = memoryview(encode(events))
        try:
            # A write may take a part only, and the rest in another call.
            written = 0
            while written < len(data):
                written += os.pwrite(self._file, data[written:], self.size + written)
            os.fdatasync(self._file)
        except OSError:
            self._withdraw()
            raise
        self.size += len(data)
        return len(data)

    def _withdraw(self) -> None:
        # What stays all the same is stored later, once; its senders were told that nobody knows.
        with suppress(OSError):
            os.ftruncate(self._file, self.size)
            os.fsync(self._file)

    def close(self) -> None:
        """Take no more events; a file without any is removed."""
        os.close(self._file)
        if self.size == 0:
            with suppress(OSError):
                if self.path.stat().st_size == 0:
                    self.path.unlink()


def segments(folder: Path) -> list[Path]:
    """Return a folder's segments, the oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def read(path: Path) -> Iterator[Event | int]:
    """Yield a segment's events, and for each damaged stretch its bytes. Raises OSError."""
    yield from decode(path.read_bytes())


def remove(path: Path, *, damaged: bool) -> None:
    """Delete a segment that has been replayed, or set it aside for people. Raises OSError."""
    if damaged:
        path.rename(path.with_suffix(DAMAGED))
    else:
        path.unlink()
    path.with_suffix(NEW).unlink(missing_ok=True)  # Where keep_only() was cut off.
    sync_folder(path.parent)


def keep_only(path: Path, events: Sequence[Event], *, damaged: bool) -> int:
    """Leave only these events of a segment and return their bytes.

    What it was is set aside for people where it is damaged. At any moment, also of a power cut, the
    segment is as it was, or as it shall be. Raises OSError: it is as it was.
    """
    data = encode(events)
    if damaged:
        aside = path.with_suffix(DAMAGED)
        aside.unlink(missing_ok=True)
        aside.hardlink_to(path)
    replace_file(path, data)
    return len(data)


def replace_file(path: Path, data: bytes) -> None:
    """Let a file be this from one moment to the next, or not at all. Raises OSError."""
    new = path.with_suffix(NEW)
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Let a folder's entries survive a power cut. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
