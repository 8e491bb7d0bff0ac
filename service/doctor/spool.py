"""The spool on this machine's disk: room, what waits there, and for which database."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from psycopg import Connection, Error

from service.database.connections import load_query
from service.doctor.findings import Finding, ok, warning, wrong
from service.ingest.spool.held import database_of, folders
from service.ingest.spool.segments import DAMAGED, segments
from service.settings import Settings

IDENTITY = load_query("database_identity")


def database_identity(connection: Connection) -> str | None:
    """Return which database it is, where it says so."""
    try:
        row = connection.execute(IDENTITY).fetchone()
    except Error:
        return None
    return None if row is None else str(row[0])


def check_spool(settings: Settings, identity: str | None) -> Iterator[Finding]:
    """Yield what is wrong with the spool."""
    directory = settings.spool_directory
    if settings.spool_bytes == 0:
        remedy = "While the database is away, events are answered 503: set SPOOL_BYTES."
        yield warning("spool", "There is none", remedy)
        return
    place = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        remedy = "Let the service's user write there, or set SPOOL_DIRECTORY."
        yield wrong("spool", f"{place} can't be written to", remedy)
        return
    yield from _contents(directory, identity)
    free = shutil.disk_usage(place).free
    needed = settings.spool_bytes * settings.workers
    found = f"{directory}: {free // 2**20} MiB free, of {needed // 2**20} that it may take"
    if free < needed:
        yield warning("spool", found, "Make room, or lower SPOOL_BYTES.")
    else:
        yield ok("spool", found)


def _contents(directory: Path, identity: str | None) -> Iterator[Finding]:
    found = folders(directory)
    foreign = [one for one in found if identity and database_of(one) not in {None, identity}]
    waiting = sum(
        path.stat().st_size for one in found if one not in foreign for path in segments(one)
    )
    damaged = [path for one in found for path in one.glob(f"*{DAMAGED}")]
    if foreign:
        remedy = "Give each database a spool of its own, or DATABASE_URL is not what it was."
        yield warning("spool", f"Folders of another database: {len(foreign)}", remedy)
    if waiting:
        remedy = "The service brings them to the database; its log says what is in the way."
        yield warning("spool", f"Events wait there: {waiting} bytes", remedy)
    if damaged:
        remedy = "Look at the disk; what is whole in them was stored. Delete them then."
        yield warning("spool", f"Damaged files: {len(damaged)}, first {damaged[0]}", remedy)
