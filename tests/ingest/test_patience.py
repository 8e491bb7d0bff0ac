"""Patience: what takes too long is ended, and nothing else is."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from service.ingest.patience import Patience

SHORT, LONG = 0.05, 60.0


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(bounded())


def test_what_comes_in_time_is_returned_and_what_fails_raises() -> None:
    async def scenario() -> None:
        patience = Patience(LONG)
        assert await patience.wait_for(asyncio.sleep(0, "x")) == "x"
        with pytest.raises(ZeroDivisionError):
            await patience.wait_for(fail())

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    run(scenario)


def test_all_that_take_too_long_are_ended_and_the_tasks_live_on() -> None:
    async def scenario() -> None:
        patience = Patience(SHORT)

        async def wait() -> str:
            with pytest.raises(TimeoutError):
                await patience.wait_for(asyncio.Event().wait())
            return await patience.wait_for(asyncio.sleep(0, "next"))

        assert await asyncio.gather(*(wait() for _ in range(100))) == ["next"] * 100

    run(scenario)


def test_one_who_comes_later_has_as_long() -> None:
    async def scenario() -> None:
        patience = Patience(SHORT)
        loop = asyncio.get_running_loop()

        async def wait(after: float) -> float:
            await asyncio.sleep(after)
            began = loop.time()
            with pytest.raises(TimeoutError):
                await patience.wait_for(asyncio.Event().wait())
            return loop.time() - began

        waited = await asyncio.gather(*(wait(SHORT * part / 7) for part in range(20)))
        assert min(waited) >= SHORT

    run(scenario)


def test_a_task_that_is_cancelled_is_cancelled() -> None:
    async def scenario() -> None:
        patience = Patience(LONG)
        task = asyncio.create_task(patience.wait_for(asyncio.Event().wait()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scenario)


def test_a_task_that_is_cancelled_when_its_time_is_over_is_cancelled() -> None:
    async def scenario() -> None:
        patience = Patience(SHORT)
        ended = asyncio.Event()

        async def wait() -> None:
            try:
                await patience.wait_for(cancelling())
            finally:
                ended.set()

        async def cancelling() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                task.cancel()

        task = asyncio.create_task(wait())
        await ended.wait()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scenario)


def test_after_a_time_without_anybody_who_waits_it_is_looked_again() -> None:
    async def scenario() -> None:
        patience = Patience(SHORT)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await patience.wait_for(asyncio.Event().wait())
            await asyncio.sleep(2 * SHORT)

    run(scenario)
