"""Connections that send no request are closed: one look at all of them, now and then."""

import asyncio
from typing import NamedTuple, Protocol

LOOKS = 10
"""How often it is looked within HEAD_SECONDS: who waits may wait longer by two parts in so many."""
GRACE_SECONDS = 1.0
"""A connection that is so young is never closed for a newer one: many may come in one turn of the
loop, as after a restart, before anything is read of any."""


class Awaited(NamedTuple):
    """What a connection waits for."""

    request: int
    """Its number on the connection, from 0."""
    begun: bool
    """Whether part of it is there, or the rest of one that is answered is still to come."""


class Connection(Protocol):
    """A connection that may loiter."""

    def awaited(self) -> Awaited | None:
        """Return what it waits for; None while a request is under way."""

    def give_up(self) -> None:
        """Close it; cut it off if that was asked for before."""


class Loitering:
    """Closes what loiters among the connections of one event loop."""

    def __init__(self, *, head_seconds: float, idle_seconds: float, new_connections: int) -> None:
        self._head_seconds = head_seconds
        self._idle_seconds = idle_seconds
        self._new_connections = new_connections
        self._new: dict[Connection, float] = {}
        """Those that have sent no head yet, first come first, and when they came."""
        self._open: dict[Connection, tuple[Awaited | None, float]] = {}
        """What each was last seen to wait for, and since when; seconds of the loop's clock."""
        self._looks = False

    def came(self, connection: Connection) -> None:
        """Note a new connection. It may take the place of the oldest that have sent no head."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._open[connection] = connection.awaited(), now
        self._new[connection] = now
        while len(self._new) > self._new_connections:
            oldest, came = next(iter(self._new.items()))
            if now - came < GRACE_SECONDS:
                break
            del self._new[oldest]
            oldest.give_up()
        if not self._looks:
            self._look_later(loop)

    def sent_head(self, connection: Connection) -> None:
        """Note that a connection has sent its first head."""
        self._new.pop(connection, None)

    def left(self, connection: Connection) -> None:
        """Forget a connection."""
        self._new.pop(connection, None)
        self._open.pop(connection, None)

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looks = True
        loop.call_later(min(self._head_seconds, self._idle_seconds) / LOOKS, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection, (seen, since) in list(self._open.items()):
            awaited = connection.awaited()
            if awaited is None or awaited != seen:
                self._open[connection] = awaited, now
            elif now - since >= self._patience_with(awaited):
                connection.give_up()
        self._looks = False
        if self._open:
            self._look_later(loop)

    def _patience_with(self, awaited: Awaited) -> float:
        is_idle = awaited.request > 0 and not awaited.begun
        return self._idle_seconds if is_idle else self._head_seconds
