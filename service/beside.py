"""What goes on beside requests: something is done now and then, until the service ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any


@asynccontextmanager
async def beside(
    work: Callable[[asyncio.Event], Coroutine[Any, Any, None]], *, name: str
) -> AsyncIterator[None]:
    """Let the work go on while this is entered; then set its event, and wait until it has ended."""
    closing = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(work(closing), name=name)
        try:
            yield
        finally:
            closing.set()


async def comes(event: asyncio.Event, *, within: float) -> bool:
    """Wait until the event is set, for so many seconds at most; return whether it is."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            await event.wait()
    return event.is_set()
