"""How connections are served: uvicorn's protocol, with what it lacks.

It leans on what is private in uvicorn 0.54: that the requests which wait for the one under way are
in `pipeline`, the latest leftmost; that `_start_asgi_task()` begins each; that `cycle` is the one
that was read last, `scope` of the one that is being read, and `headers` what there is of its head;
and that all reading goes on by `flow.resume_reading()`.
"""

import asyncio
from collections.abc import Sized
from typing import Any, cast

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.heads import MAX_HEAD_BYTES, bytes_of, fault_of
from service.joining import JoiningTransport
from service.loitering import Awaited, Loitering
from service.problems import Problem, ProblemKind
from service.refusals import log_refused, refusal

NO_REQUEST = Problem(ProblemKind.MALFORMED_REQUEST, "This is no request of HTTP/1.1.")
HEAD_TIMEOUT = Problem(ProblemKind.HEAD_TIMEOUT, "Send the whole head of a request at once.")
HEAD_TOO_LARGE = Problem(
    ProblemKind.HEAD_TOO_LARGE,
    f"The request line and the headers may be {MAX_HEAD_BYTES} bytes together.",
)


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
    _requests = 0
    """How many have begun."""
    _refused = False
    """Whether something came that is no request."""
    _fault = NO_REQUEST
    """What is wrong with it."""
    _read = 0
    """Bytes of the latest read."""
    _bare = 0
    """Bytes of the latest reads that were neither a body nor the end of a head."""

    def __init__(self, *args: Any, loitering: Loitering, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._loitering = loitering

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to serve a connection."""
        super().connection_made(cast("asyncio.Transport", JoiningTransport(transport)))
        self.flow = Flow(self.transport, self.pipeline)
        self._loitering.came(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request under way that its sender has gone, and forget those that wait."""
        if self._running is not None:
            self.pipeline.clear()
            self.cycle = self._running  # uvicorn tells only the one that was read last.
        self._loitering.left(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what was sent, unless it comes after what is no request.

        That is dropped, and logged no more. It is taken, since to close a connection with bytes
        unread resets it, and the last answer might be lost.
        """
        if self._refused:
            return
        self._read = len(data)
        scope, cycle = self.scope, self.cycle
        body = 0 if cycle is None else len(cycle.body)
        super().data_received(data)
        has_grown = cycle is not None and len(cycle.body) > body
        if has_grown or scope is not self.scope or not self._is_unfinished():
            self._bare = 0
            return
        self._bare += len(data)
        if self._bare > MAX_HEAD_BYTES and not self._refused:
            self._refuse(HEAD_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Begin to serve a request, unless its head is none."""
        is_long = self._read + self._bare > MAX_HEAD_BYTES
        if is_long and bytes_of(self.url, self.headers) > MAX_HEAD_BYTES:
            self._fault = HEAD_TOO_LARGE
            raise httptools.HttpParserError
        if fault := fault_of(self.parser, self.url, self.headers):
            self._fault = Problem(ProblemKind.MALFORMED_REQUEST, fault)
            raise httptools.HttpParserError
        super().on_headers_complete()
        self.headers = []  # What comes after the body is no header.

    def on_response_complete(self) -> None:
        """Begin the next request, if it is there. Else Loitering waits for it: no timer is set."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request."""
        self._refuse(self._fault)

    def awaited(self) -> Awaited | None:
        """Return the request that is waited for; None while one is under way."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and not cycle.disconnected:
            return None
        # Of what was answered before it was whole the rest may be on its way.
        has_rest = cycle is not None and cycle.more_body
        return Awaited(self._requests, begun=has_rest or self._is_amid_head())

    def give_up(self) -> None:
        """Close the connection: what it waits for has not come. Cut it off if it is closed."""
        if self._refused or self.transport.is_closing():
            self.transport.abort()
        elif self._is_amid_head():
            self._refuse(HEAD_TIMEOUT)
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """Close the connection, now or once the request under way is answered."""
        if self._refused and self.awaited() is not None:
            self.transport.abort()
        else:
            super().shutdown()

    def _refuse(self, problem: Problem) -> None:
        """Answer with a problem; where requests came before it, answer them and close instead.

        It would be taken for the answer to the first of them, which may yet be stored.
        """
        self._refused = True
        request_id = log_refused(problem)
        if self.pipeline and self.cycle.more_body:
            # Its body is what is broken.
            self.pipeline.popleft()
        last = self.pipeline[0][0] if self.pipeline else self._running
        if last is not None and _will_be_answered(last):
            last.keep_alive = False
            return
        if last is not None and not last.response_complete:
            last.disconnected = True
            last.message_event.set()
        if not self.transport.is_closing():
            answer = refusal(problem, request_id, self.server_state.default_headers)
            self.transport.write(answer)
            # Not closed: what is still sent would reset the connection, and the answer be lost.
            self.transport.write_eof()

    def _is_amid_head(self) -> bool:
        return self.scope is not None and (self.cycle is None or self.cycle.scope is not self.scope)

    def _is_unfinished(self) -> bool:
        """Return whether more of a head or a body is to come that somebody waits for."""
        if self.cycle is None or self._is_amid_head():
            return True
        return self.cycle.more_body and not self.cycle.response_complete

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing of what would be needed: it is refused as any other request, and logged."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        self._requests += 1
        if self._requests == 1:
            self._loitering.sent_head(self)
        super()._start_asgi_task(cycle, app)


def _will_be_answered(cycle: RequestResponseCycle) -> bool:
    """Return whether a request is under way, and its body whole or no longer of interest."""
    return not cycle.response_complete and (cycle.response_started or not cycle.more_body)
