"""The server's settings, connections and clock."""

import time
from collections.abc import Iterator

from psycopg import Connection

from service.database.checks import REMEDIES
from service.doctor.findings import Finding, ok, sentence, warning, wrong
from service.settings import Settings

MIB = 1024 * 1024
LEAST_BUFFERS = 256 * MIB
LEAST_LOCKS = 256
OTHER_CONNECTIONS = 3
"""A worker's, beside those that write and read events: of replays, of minutes, and of keys."""
CLOCK_SECONDS = 1.0
BAD_CLOCK_SECONDS = 60.0

SETTING = "select current_setting(%s)"
BYTES = "select pg_size_bytes(current_setting('shared_buffers'))"
CONNECTIONS = """
select current_setting('max_connections')::integer
     - current_setting('superuser_reserved_connections')::integer
"""


def check_settings(connection: Connection, _: Settings) -> Iterator[Finding]:
    """Yield what the server's settings mean for events and counts."""

    def of(name: str) -> str:
        return _value(connection, SETTING, name)

    if of("fsync") == "off":
        yield wrong("fsync", "off", sentence(REMEDIES["fsync"]))
    if of("full_page_writes") == "off":
        remedy = "A crash in the middle of a write may damage the database: turn it on."
        yield wrong("full_page_writes", "off", remedy)
    if of("synchronous_commit") == "off":
        remedy = sentence(REMEDIES["synchronous_commit"])
        yield warning("synchronous_commit", "off", remedy)
    if of("autovacuum") == "off":
        remedy = "Plans become wrong and rows are never reclaimed: turn it on."
        yield warning("autovacuum", "off", remedy)
    if int(of("max_locks_per_transaction")) < LEAST_LOCKS:
        remedy = "A statement over many days locks each chunk: set it to 512, and restart."
        found = of("max_locks_per_transaction")
        yield warning("max_locks_per_transaction", found, remedy)
    if int(_value(connection, BYTES)) < LEAST_BUFFERS:
        remedy = "Set it to a quarter of the machine's memory, and restart."
        yield warning("shared_buffers", of("shared_buffers"), remedy)
    if (zone := of("TimeZone")) not in {"UTC", "Etc/UTC", "GMT"}:
        remedy = "The service sets its own; in psql dates mean that zone's: set it to UTC."
        yield warning("timezone", zone, remedy)
    yield ok("settings", f"fsync {of('fsync')}, synchronous_commit {of('synchronous_commit')}")


def check_connections(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Yield whether the server has connections for all workers of an instance."""
    each = sum(
        (
            settings.ingest_connections,
            settings.read_connections,
            settings.export_connections,
            OTHER_CONNECTIONS,
        )
    )
    needed, there = settings.workers * each, int(_value(connection, CONNECTIONS))
    found = f"{needed} of {there} are needed (WORKERS={settings.workers})"
    if needed > there:
        remedy = "Raise max_connections, or lower WORKERS or READ_CONNECTIONS."
        yield wrong("connections", found, remedy)
    else:
        yield ok("connections", found)


def check_clock(connection: Connection, _: Settings) -> Iterator[Finding]:
    """Yield how far this machine's clock is from the database's."""
    before = time.time()
    there = float(_value(connection, "select extract(epoch from clock_timestamp())"))
    after = time.time()
    # What lies between the question and its answer is nobody's fault.
    off = max(before - there, there - after, 0.0)
    found = f"{off:.1f} s apart from the database's"
    remedy = "Let both follow a time server (chrony): events bear this clock's time."
    if off > BAD_CLOCK_SECONDS:
        yield wrong("clock", found, remedy)
    elif off > CLOCK_SECONDS:
        yield warning("clock", found, remedy)
    else:
        yield ok("clock", found)


def _value(connection: Connection, query: str, *values: str) -> str:
    row = connection.execute(query.encode(), values or None).fetchone()
    return str(row[0]) if row is not None else ""
