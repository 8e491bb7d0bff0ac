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

from service.ingest.spool.segments import segments, sync_folder

LOCK = "lock"
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

    def release(self) -> None:
        """Let another process have it; a folder without events is removed."""
        if not segments(self.path):
            with suppress(OSError):
                (self.path / LOCK).unlink()
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


def lock_orphans(directory: Path, known: Iterable[Path]) -> list[Held]:
    """Lock those folders that are not known, and that nobody holds. Raises OSError."""
    found = []
    for path in sorted(set(directory.glob("*")) - set(known)):
        # A folder may be gone by now; or it is no folder, or not for us.
        with suppress(OSError):
            if OWN_NAME.fullmatch(path.name) and (held := _lock(path)) is not None:
                found.append(held)
    return found


def _lock(path: Path) -> Held | None:
    """Return a folder that this process holds from now on; None where another one does."""
    lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return Held(path, lock, sum(one.stat().st_size for one in segments(path)))
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError:
        os.close(lock)
        raise
