"""Writes events to the database: again where that helps, apart from those that it refuses."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import psycopg
import structlog

from service.database.failures import Failure, classify, first_line
from service.events import Event
from service.ingest.waiting import Settled
from service.metrics import count_database_error

log = structlog.get_logger()

PAUSES_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Before each further attempt, where another transaction was in the way."""


class GroupStore(Protocol):
    """What is written to: all of a group is committed, or it raises."""

    async def write(self, events: Sequence[Event], *, again: bool = False) -> Sequence[bytes]:
        """Commit the events; return the ids of those that were stored already, with `again`."""

    async def set_aside(self, event: Event, error: BaseException) -> None:
        """Keep an event that the database refuses where people can look at it, or raise."""

    async def check(self) -> None:
        """Raise unless events can be written, as far as that can be told without writing."""

    async def close(self) -> None:
        """Let go of what is open."""


async def write_settled(
    store: GroupStore, events: Sequence[Event], settled: Settled, *, again: bool = False
) -> None:
    """Commit the events but for those that can't be written, which are found by bisection.

    Raises what says that the database is away, or a defect; some may be committed then.
    """
    if not events:
        return
    again = again or any(event.id_is_given for event in events)
    for pause in (*PAUSES_SECONDS, None):
        try:
            settled.known.update(await store.write(events, again=again))
        except Exception as error:
            failure = classify(error)
            if failure is Failure.RETRY and pause is not None:
                count_database_error(error)
                await asyncio.sleep(pause)
                again = True
                continue
            ours = failure is Failure.DEFECT and not isinstance(error, psycopg.Error)
            if failure is not Failure.REFUSED and not ours:
                raise
            if len(events) == 1 and ours:
                log.error("event can't be sent", error=first_line(error))
                settled.broken.add(events[0])
            elif len(events) == 1:
                count_database_error(error)
                await set_aside(store, events[0], settled, error)
            else:
                half = len(events) // 2
                for part in (events[:half], events[half:]):
                    await write_settled(store, part, settled, again=again)
        return


async def set_aside(store: GroupStore, event: Event, settled: Settled, error: Exception) -> None:
    """Keep an event that can't be stored where people can look at it; what fails is logged."""
    log.error("event refused", error=first_line(error))
    try:
        await store.set_aside(event, error)
    except Exception as failed:
        log.error("refused event not set aside", error=first_line(failed))
        settled.not_set_aside.add(event)
    # Not before: its group's time may end meanwhile, and then nobody knows what became of it.
    settled.refused.add(event)
