"""How connections are served: uvicorn's protocol, with what it lacks.

It leans on what is private in uvicorn 0.54: that the requests which wait for the one under way are
in `pipeline`, the latest leftmost; that `_start_asgi_task()` begins each; that `cycle` is the one
that was read last; and that all reading goes on by `flow.resume_reading()`.
"""

import asyncio
from collections.abc import Sized
from typing import cast

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.joining import JoiningTransport


class Flow(FlowControl):
    """Reads no more while requests wait, so that a connection keeps what one read brings at most.

    uvicorn alone reads on after each answer: a sender that doesn't wait fills the memory.
    """

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Read on, unless requests wait."""
        if not self._waiting:
            super().resume_reading()


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, over a transport that joins what is written."""

    _running: RequestResponseCycle | None = None
    """The request under way, or the last one that was."""
    _refused = False
    """Whether something came that is no request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to serve a connection."""
        super().connection_made(cast("asyncio.Transport", JoiningTransport(transport)))
        self.flow = Flow(self.transport, self.pipeline)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request under way that its sender has gone, and forget those that wait."""
        if self._running is not None:
            self.pipeline.clear()
            self.cycle = self._running  # uvicorn tells only the one that was read last.
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what was sent, unless it comes after what is no request.

        That is dropped, and logged no more. It is taken, since to close a connection with bytes
        unread resets it, and the last answer might be lost.
        """
        if not self._refused:
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request; where requests came before it, answer them and close instead.

        A 400 would be taken for the answer to the first of them, which may yet be stored.
        """
        self._refused = True
        if self.pipeline and self.cycle.more_body:
            # Its body is what is broken.
            self.pipeline.popleft()
        last = self.pipeline[0][0] if self.pipeline else self._running
        if last is not None and _will_be_answered(last):
            last.keep_alive = False
        else:
            super().send_400_response(msg)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)


def _will_be_answered(cycle: RequestResponseCycle) -> bool:
    """Return whether a request is under way, and its body whole or no longer of interest."""
    return not cycle.response_complete and (cycle.response_started or not cycle.more_body)
