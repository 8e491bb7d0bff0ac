"""Whether the database's settings let an event that was answered 202 survive a crash."""

from contextlib import suppress

import psycopg
import structlog

from service.database.migrations import connect_or_explain

log = structlog.get_logger()

REMEDIES = {
    "fsync": "a crash of the database's machine, or a power cut, may lose events that were "
    "answered 202, and damage the database: set fsync = on in its postgresql.conf",
    "synchronous_commit": "a 202 would not survive a crash of the database server, so the service "
    "turns it on for its own connections: turn it on for others that write (alter role, "
    "alter database, or postgresql.conf)",
}


def warn_of_losses(database_url: str) -> None:
    """Log a line for each setting that is off and must not be. Raises DatabaseError.

    All other values of synchronous_commit, `local` too, have a commit on the server's own disk.
    """
    with suppress(psycopg.Error), connect_or_explain(database_url) as connection:
        for name, remedy in REMEDIES.items():
            if connection.execute("select current_setting(%s)", [name]).fetchone() == ("off",):
                log.warning(f"{name} is off", remedy=remedy)
