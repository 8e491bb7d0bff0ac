"""The figures of docs/embedded.md, measured anew: python -m tests.embedded.measure"""

import os
import signal
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from service.database.embedded import EmbeddedDatabase

ROWS = 200_000


def main() -> None:
    for durable in (True, False):
        with tempfile.TemporaryDirectory() as directory:
            say("fsync" if durable else "no fsync", "")
            measure(EmbeddedDatabase(Path(directory), durable=durable))


def measure(database: EmbeddedDatabase) -> None:
    say("start of a new database", seconds(database.start))
    with connected(database) as connection:
        connection.execute("create table items (id int, name text)")
        insert = "insert into items values (%s, 'x')"
        say("p50 of select 1", median(lambda: connection.execute("select 1")))
        say("p50 of a prepared insert", median(lambda: connection.execute(insert, (1,))))
        say("p50 of begin, insert, commit", median(lambda: transaction(connection)))
        copy = min(timed(lambda: copy_binary(connection)) for _ in range(3))
        say("binary COPY into a plain table", f"{ROWS / copy / 1e3:.0f} k rows/s")
        for _ in range(10):
            copy_binary(connection)
        say("memory of the process", f"{resident(database.pid)} MiB")
    os.kill(database.pid, signal.SIGKILL)
    say("until it answers again after kill -9", seconds(lambda: connected(database).close()))
    say("stop", seconds(database.stop))
    say("start of an existing database", seconds(database.start))
    database.stop()


def connected(database: EmbeddedDatabase) -> psycopg.Connection[Any]:
    return psycopg.connect(database.url, autocommit=True, prepare_threshold=0)


def transaction(connection: psycopg.Connection[Any]) -> None:
    with connection.transaction():
        connection.execute("insert into items values (1, 'x')")


def copy_binary(connection: psycopg.Connection[Any]) -> None:
    with connection.cursor().copy("copy items from stdin (format binary)") as copy:
        copy.write(PGCOPY)


PGCOPY = b"".join(
    [
        b"PGCOPY\n\xff\r\n\0" + bytes(8),
        *(struct.pack("!hiii8s", 2, 4, n, 8, b"%08d" % n) for n in range(ROWS)),
        b"\xff\xff",
    ]
)


def timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def seconds(action: Callable[[], object]) -> str:
    return f"{timed(action):.2f} s"


def median(action: Callable[[], object]) -> str:
    return f"{statistics.median(timed(action) for _ in range(1000)) * 1e6:.0f} us"


def resident(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) >> 10


def say(what: str, figure: str) -> None:
    sys.stdout.write(f"{what:40}{figure}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
