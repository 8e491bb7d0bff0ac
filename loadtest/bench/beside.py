"""What goes on beside the counts, each in a thread: writers, refreshes, conversions."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime

import psycopg

from loadtest.bench.loading import OLD_CHUNKS, refresh
from loadtest.bench.ranges import DAY, Window
from loadtest.bench.truth import Truth
from service.events import DEFAULT_SITE, EVENT_TYPES, Event, new_event_id
from service.ingest.store import Store

GROUP_SECONDS = 0.02
"""Between two groups of a writer."""
REFRESH_SECONDS = 2.0
LATE_PER_SECOND = 10
LATE_DAYS = 7
DEADLINE_SECONDS = 60.0

Work = Callable[[threading.Event], None]
"""Something that goes on until it is told to stop."""


@contextmanager
def beside(*works: Work) -> Iterator[None]:
    """Let works go on meanwhile. Raises what one of them raised, at the end."""
    stop = threading.Event()
    with ThreadPoolExecutor(len(works)) as pool:
        going_on = [pool.submit(work, stop) for work in works]
        try:
            yield
        finally:
            stop.set()
    for work in going_on:
        work.result()


def writer(url: str, truth: Truth, per_second: int) -> Work:
    """Return what writes so many events a second, of the moments since the last ones."""

    def moments(last: int, now: int, number: int) -> list[int]:
        return [last + (now - last) * part // number for part in range(number)]

    return lambda stop: asyncio.run(_write(url, truth, per_second, moments, stop))


def late_writer(url: str, truth: Truth, window: Window) -> Work:
    """Return what writes some events a second into the last days of a window, at random."""
    first = _milliseconds(max(window.first, window.until - LATE_DAYS * DAY))
    end = _milliseconds(window.until)

    def moments(last: int, now: int, number: int) -> list[int]:
        return [random.randrange(first, end) for _ in range(number)]

    return lambda stop: asyncio.run(_write(url, truth, LATE_PER_SECOND, moments, stop))


def refresher(url: str) -> Work:
    """Return what refreshes all levels by hand, beside their policies, up to this minute."""

    def work(stop: threading.Event) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not stop.wait(REFRESH_SECONDS):
                refresh(connection, Window.until_now(DAY))

    return work


def converter(url: str) -> Work:
    """Return what turns old chunks, in which nothing is written, into rows and columns again."""

    def work(stop: threading.Event) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            chunks = [chunk for (chunk,) in connection.execute(OLD_CHUNKS).fetchall()]
            while chunks and not stop.is_set():
                chunk = random.choice(chunks)
                connection.execute("call convert_to_rowstore(%s)", [chunk])
                connection.execute("call convert_to_columnstore(%s)", [chunk])

    return work


async def _write(
    url: str,
    truth: Truth,
    per_second: int,
    moments: Callable[[int, int, int], list[int]],
    stop: threading.Event,
) -> None:
    """Write through the service's own store; `moments` says when so many events happened."""
    store = Store(url, deadline_seconds=DEADLINE_SECONDS)
    last = time.time_ns() // 1_000_000
    while not stop.is_set():
        now = time.time_ns() // 1_000_000
        if number := (now - last) * per_second // 1000:
            events = [_event(moment) for moment in moments(last, now, number)]
            with truth.writing(events):
                await store.write(events)
            last = now
        await asyncio.sleep(GROUP_SECONDS)
    await store.close()


def _event(moment: int) -> Event:
    """Return an event of a millisecond since 1970."""
    event_type = random.choices(EVENT_TYPES, (6, 3, 1))[0]
    return Event(
        moment * 1000, new_event_id(moment), DEFAULT_SITE, b"bench", event_type, b'{"url": "/"}'
    )


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)
