"""From how many events on COPY is the faster way to write a group.

`scripts/bench writes` writes groups of several sizes by both ways in turns, through the service's
own store, into a fresh database.
"""

import asyncio
import random
import statistics
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from loadtest.databases import fresh_database
from service.events import Event, new_event_id
from service.ingest import store
from service.ingest.store import Store

SIZES = (1, 10, 30, 100, 200, 300, 500, 1000, 3000, 10_000)
PAYLOAD = b'{"url": "https://example.com/products/42", "title": "Forty-two"}'


def group(size: int) -> list[Event]:
    """Return events of now."""
    now = time.time_ns() // 1_000_000
    return [
        Event(
            now * 1000, new_event_id(now), 1, b"user-%d" % random.randrange(1000), "view", PAYLOAD
        )
        for _ in range(size)
    ]


async def measure(url: str, rounds: int) -> list[tuple[int, float, float]]:
    """Return for each size the median milliseconds of INSERT and of COPY."""
    writing = Store(url, deadline_seconds=60)
    figures = []
    for size in SIZES:
        seconds: dict[int, list[float]] = {size + 1: [], 0: []}
        for _ in range(rounds):
            for threshold, taken in seconds.items():
                store.COPY_FROM_EVENTS = threshold
                events = group(size)
                started = time.perf_counter()
                await writing.write(events)
                taken.append(time.perf_counter() - started)
        insert, copy = (statistics.median(taken) * 1000 for taken in seconds.values())
        figures.append((size, insert, copy))
    await writing.close()
    return figures


def main(rounds: Annotated[int, typer.Option(help="How often each is written.")] = 40) -> None:
    """Print both ways' times side by side."""
    console = Console()
    with fresh_database() as (url, server):
        table = Table("events", "INSERT ms", "COPY ms", "COPY / INSERT", title=server)
        for size, insert, copy in asyncio.run(measure(url, rounds)):
            table.add_row(f"{size:,}", f"{insert:.2f}", f"{copy:.2f}", f"{copy / insert:.2f}")
        console.print(table)


if __name__ == "__main__":
    typer.run(main)
