"""How connections are served: uvicorn's protocol, with what it lacks.

It leans on what is private in uvicorn 0.54: that the requests which wait for the one under way are
in `pipeline`, the latest leftmost, and that all reading goes on by `flow.resume_reading()`.
"""

import asyncio
from collections.abc import Sized
from typing import cast

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

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

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to serve a connection."""
        super().connection_made(cast("asyncio.Transport", JoiningTransport(transport)))
        self.flow = Flow(self.transport, self.pipeline)
