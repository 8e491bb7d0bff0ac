"""Counts ranges over HTTP: readers on connections that are kept, each as fast as it is answered."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

from loadtest.bench.figures import Figures
from loadtest.bench.ranges import MICROSECOND, Range
from loadtest.bench.truth import Truth

PATH = "/analytics/event-counts-by-type"


class Reader:
    """One connection to the service."""

    def __init__(self, base_url: str) -> None:
        self._address = urlsplit(base_url)

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection(
            self._address.hostname, self._address.port
        )

    async def count(self, bounds: Range) -> Counter[str]:
        """Return the answer for a range, whose end is included in HTTP. Raises OSError."""
        start, end = bounds
        query = {"start_date": start.isoformat(), "end_date": (end - MICROSECOND).isoformat()}
        request = f"GET {PATH}?{urlencode(query)} HTTP/1.1\r\nHost: {self._address.netloc}\r\n\r\n"
        self._writer.write(request.encode())
        status, *headers = (await self._reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        length = next(line for line in headers if line.startswith(b"content-length:"))
        body = await self._reader.readexactly(int(length.partition(b":")[2]))
        if b" 200 " not in status:
            raise OSError(f"{status.decode()}: {body.decode()}")
        return Counter(json.loads(body))

    def close(self) -> None:
        """Disconnect."""
        self._writer.close()


async def read(
    base_url: str,
    truth: Truth,
    draw: Callable[[random.Random], Range],
    *,
    readers: int,
    seconds: float,
) -> tuple[Figures, float]:
    """Let readers count for some seconds; return the figures, and the answers a second."""
    figures = Figures()
    began = time.monotonic()

    async def go_on(number: int) -> None:
        reader, chance = Reader(base_url), random.Random(number)
        await reader.open()
        while not figures.milliseconds or time.monotonic() < began + seconds:
            bounds = draw(chance)
            low = truth.at_least(bounds)
            started = time.perf_counter()
            answer = await reader.count(bounds)
            ended = time.perf_counter()
            figures.note(bounds, ended - started, low, answer, truth.at_most(bounds))
        reader.close()

    async with asyncio.TaskGroup() as group:
        for number in range(readers):
            group.create_task(go_on(number))
    return figures, len(figures.milliseconds) / (time.monotonic() - began)
