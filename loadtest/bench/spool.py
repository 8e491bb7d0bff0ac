"""What keeping a group on the disk takes: the service's own segments, and SQLite beside them.

`scripts/bench spool` writes groups of several sizes both ways in turns, each until it is on the
disk for good (fdatasync; SQLite in WAL mode with synchronous=FULL).
"""

import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from loadtest.bench.writes import group
from service.events import Event
from service.ingest.spool import Spool
from service.ingest.spool.records import encode

SIZES = (1, 10, 30, 100, 1000, 10_000)
Append = Callable[[list[Event]], Awaitable[None]]


class Database:
    """SQLite as a spool: a row an event, its record as a blob."""

    def __init__(self, directory: Path) -> None:
        self._connection = sqlite3.connect(directory / "spool.db", check_same_thread=False)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = full")
        self._connection.execute("create table events (id integer primary key, record blob)")

    async def append(self, events: list[Event]) -> None:
        """Return once the events are on the disk for good."""
        await asyncio.to_thread(self._append, events)

    def _append(self, events: list[Event]) -> None:
        with self._connection:
            self._connection.executemany(
                "insert into events (record) values (?)", [(encode([event]),) for event in events]
            )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


async def measure(directory: Path, rounds: int) -> list[tuple[int, float, float]]:
    """Return for each size the median milliseconds of segments and of SQLite."""
    (directory / "segments").mkdir()
    database = Database(directory)
    figures = []
    async with Spool(directory / "segments", limit_bytes=10**11) as spool:
        for size in SIZES:
            seconds: list[tuple[float, float]] = []
            for _ in range(rounds):
                events = group(size)
                seconds.append(
                    (await timed(spool.append, events), await timed(database.append, events))
                )
            segments, sqlite = (statistics.median(one) * 1000 for one in zip(*seconds, strict=True))
            figures.append((size, segments, sqlite))
    database.close()
    return figures


async def timed(append: Append, events: list[Event]) -> float:
    """Return the seconds that a group takes."""
    started = time.perf_counter()
    await append(events)
    return time.perf_counter() - started


def main(
    rounds: Annotated[int, typer.Option(help="How often each is written.")] = 40,
    directory: Annotated[
        Path | None, typer.Option(help="On which disk; else that of temporary files.")
    ] = None,
) -> None:
    """Print both ways' times side by side."""
    table = Table("events", "segments ms", "SQLite ms", "SQLite / segments")
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        for size, segments, sqlite in asyncio.run(measure(Path(folder), rounds)):
            ratio = f"{sqlite / segments:.2f}"
            table.add_row(f"{size:,}", f"{segments:.2f}", f"{sqlite:.2f}", ratio)
    Console().print(table)
