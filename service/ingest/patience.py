"""How long one waits: one look at all who wait, now and then, in place of a timer for each."""

import asyncio
from collections.abc import Awaitable
from itertools import takewhile
from typing import Any, TypeVar, cast

T = TypeVar("T")

LOOKS = 10
"""How often it is looked within the time: who waits may wait longer by one part in so many."""


class Patience:
    """Ends what takes too long, in the tasks of one event loop."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began: dict[asyncio.Task[Any], float] = {}
        """Who waits, and since when, first come first; seconds of the loop's clock."""
        self._late: set[asyncio.Task[Any]] = set()
        self._looks = False

    async def wait_for(self, awaited: Awaitable[T]) -> T:
        """Return what is awaited, or cancel it and raise TimeoutError where that takes too long."""
        loop = asyncio.get_running_loop()
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._began[task] = loop.time()
        if not self._looks:
            self._look_later(loop)
        try:
            return await awaited
        except asyncio.CancelledError:
            # Who else cancels the task meanwhile is obeyed, as by asyncio.timeout().
            if task in self._late and not task.uncancel():
                raise TimeoutError from None
            raise
        finally:
            self._began.pop(task, None)
            self._late.discard(task)

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looks = True
        loop.call_later(self._seconds / LOOKS, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        latest = loop.time() - self._seconds
        for task in list(takewhile(lambda task: self._began[task] <= latest, self._began)):
            del self._began[task]
            self._late.add(task)
            task.cancel()
        if self._began:
            self._look_later(loop)
        else:
            self._looks = False
