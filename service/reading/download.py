"""An answer that is a file, streamed as fast as its reader takes it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import structlog
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from service.database.failures import first_line
from service.outages import away_is_503
from service.problems import Problem, ProblemKind

log = structlog.get_logger()


class Download(StreamingResponse):
    """Sends blocks until they end, the deadline passes, or the client leaves.

    What fails before the first block can still be answered. What fails later cuts the transfer:
    its last chunk is missing, and no client takes it for whole. StreamingResponse would begin
    first, and cancel again and again, also what ends a statement.
    """

    def __init__(
        self,
        blocks: AsyncGenerator[bytes],
        *,
        deadline_seconds: float,
        name: str,
        media_type: str,
    ) -> None:
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        super().__init__(blocks, headers=headers, media_type=media_type)
        self._blocks = blocks
        self._deadline_seconds = deadline_seconds
        self._begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises what the blocks raise, and Problem before they began."""
        if scope["method"] == "HEAD":
            await self._begin(send)
            await send({"type": "http.response.body"})
            return
        limit = asyncio.timeout(self._deadline_seconds)
        watch = asyncio.create_task(_end_when_left(receive, limit))
        try:
            with away_is_503(ProblemKind.EVENTS_UNAVAILABLE):
                async with limit:
                    await self._send(send)
        except Problem as problem:
            if watch.done():
                return
            if not self._begun:
                raise
            # The server closes the connection of an answer that is left without its end.
            reason = first_line(problem.__cause__ or problem)
            log.error("download cut short", reason=reason, request_id=scope["request_id"])
        finally:
            watch.cancel()

    async def _send(self, send: Send) -> None:
        async with aclosing(self._blocks) as blocks:
            block = await anext(blocks, b"")
            await self._begin(send)
            while block:
                await send({"type": "http.response.body", "body": block, "more_body": True})
                block = await anext(blocks, b"")
        await send({"type": "http.response.body"})

    async def _begin(self, send: Send) -> None:
        self._begun = True
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )


async def _end_when_left(receive: Receive, limit: asyncio.Timeout) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    limit.reschedule(0)
