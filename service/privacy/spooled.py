"""What of a user waits in the spools of this machine."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from service.events import Event
from service.ingest.spool.held import database_of, folders, lock_orphans
from service.ingest.spool.segments import DAMAGED, keep_only, read, remove, segments

IsTheirs = Callable[[Event], bool]


def erase_spooled(directory: Path, is_theirs: IsTheirs, database: str) -> tuple[int, int]:
    """Return how many of a user's events were erased from spools, and how many are still there.

    Only a spool that no process holds can be changed; another one's events come to the database
    soon. So can no damaged file. Spools of another database are left alone. Raises OSError.
    """
    ours = [path for path in folders(directory) if database_of(path) in {None, database}]
    erased = 0
    for held in lock_orphans(ours):
        try:
            erased += sum(_erase(path, is_theirs) for path in segments(held.path))
        finally:
            held.release()
    return erased, sum(_left(folder, is_theirs) for folder in ours)


def _erase(path: Path, is_theirs: IsTheirs) -> int:
    records = list(read(path))
    events = [one for one in records if isinstance(one, Event)]
    kept = [event for event in events if not is_theirs(event)]
    if len(events) < len(records) or len(kept) == len(events):
        return 0
    if kept:
        keep_only(path, kept, damaged=False)
    else:
        remove(path, damaged=False)
    return len(events) - len(kept)


def _left(folder: Path, is_theirs: IsTheirs) -> int:
    found = 0
    for path in [*segments(folder), *folder.glob(f"*{DAMAGED}")]:
        with suppress(FileNotFoundError):  # It has just been replayed.
            found += sum(isinstance(one, Event) and is_theirs(one) for one in read(path))
    return found
