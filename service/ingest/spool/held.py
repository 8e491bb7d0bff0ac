"""Folders of a spool: each is one process's, which holds it locked as long as it lives."""

import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from service.ingest.spool.segments import NEW, replace_file, segments, sync_folder

LOCK = "lock"
DATABASE = "database"
"""Holds the identity of the database that a folder's events are for, once that is known."""
OWN_NAME = re.compile(r"\d{19}-[0-9a-f]{8}")
"""Of a folder; others in the directory are somebody else's, and left alone."""


@dataclass
class Held:
    """A folder that this process has locked; nobody else reads or writes it."""

    path: Path
    lock: int
    """File descriptor."""
    bytes: int
    """Of events that are on the disk."""
    database: str | None
    """Which one the events are for, if that is known."""

    def bind(self, database: str) -> None:
        """Let its events be for this database, unless they are for one already. Raises OSError."""
        if self.database is None:
            replace_file(self.path / DATABASE, database.encode())
            self.database = database

    def release(self) -> None:
        """Let another process have it; a folder without events is removed."""
        if not segments(self.path):
            with suppress(OSError):
                for name in (DATABASE, DATABASE + NEW, LOCK):
                    (self.path / name).unlink(missing_ok=True)
                self.path.rmdir()  # Not where damaged segments wait for people.
        os.close(self.lock)


def new_folder(directory: Path) -> Held:
    """Make a folder, and lock it. Raises OSError: there is none then."""
    while True:
        path = directory / f"{time.time_ns()}-{secrets.token_hex(4)}"
        path.mkdir(mode=0o700)
        try:
            held = _lock(path)
        except OSError:
            with suppress(OSError):
                path.rmdir()
            raise
        # Else another process has adopted it just now.
        if held is not None:
            sync_folder(directory)
            return held


def lock_orphans(paths: Iterable[Path]) -> list[Held]:
    """Lock those of the folders that nobody holds."""
    found = []
    for path in paths:
        # It may be gone by now; or it is no folder, or not for us.
        with suppress(OSError):
            if (held := _lock(path)) is not None:
                found.append(held)
    return found


def folders(directory: Path) -> list[Path]:
    """Return the folders of all processes, the oldest first."""
    return sorted(path for path in directory.glob("*") if OWN_NAME.fullmatch(path.name))


def database_of(folder: Path) -> str | None:
    """Return which database a folder's events are for: none yet, or "" if that can't be read."""
    try:
        return (folder / DATABASE).read_bytes().decode(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return ""


def _lock(path: Path) -> Held | None:
    """Return a folder that this process holds from now on; None where another one does."""
    lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        size = sum(one.stat().st_size for one in segments(path))
        return Held(path, lock, size, database_of(path))
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError:
        os.close(lock)
        raise
