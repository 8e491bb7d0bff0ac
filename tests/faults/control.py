"""A service that breaks the promise on purpose, in one way: what the ledger must notice.

`python -m tests.faults.control` serves on PORT, as `python -m service serve` does.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.events import Event, new_event_id, parse_event
from service.ingest.answers import accepted
from service.ingest.store import Store

Lie = Literal["memory", "lost", "doubled", "changed", "though_refused", "strange", "defects"]
"""The field of a comparison that must show it; memory is written half a second later."""

PAUSE_SECONDS = 0.5


@dataclass
class Liar:
    """Answers events, and does something else with them."""

    lie: Lie
    store: Store
    lock: asyncio.Lock
    waiting: list[Event]

    async def post_event(self, request: Request) -> Response:
        """POST /events."""
        event = parse_event(await request.body())
        if self.lie == "memory":
            self.waiting.append(event)
        else:
            await self._write(self._instead(event))
        if self.lie == "though_refused":
            return JSONResponse({}, 503, {"Retry-After": "1"})
        if self.lie == "defects":
            return JSONResponse({}, 500)
        return Response(accepted(event), 202, media_type="application/json")

    async def write_regularly(self) -> None:
        """Write what has been acknowledged from memory."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            events, self.waiting = self.waiting, []
            await self._write(events)

    def _instead(self, event: Event) -> list[Event]:
        another = event._replace(event_id=new_event_id(event.timestamp // 1000))
        number = event.payload.index(b'"number":') + len(b'"number":')
        strange = event.payload[:number] + b"1000" + event.payload[number:]
        return {
            "lost": [],
            "doubled": [event, another],
            "changed": [event._replace(user_id=b"somebody else")],
            "strange": [event, another._replace(payload=strange)],
        }.get(self.lie, [event])

    async def _write(self, events: list[Event]) -> None:
        if events:
            async with self.lock:
                await self.store.write(events)


def create_app(database_url: str, lie: Lie) -> Starlette:
    """Return the application."""
    liar = Liar(lie, Store(database_url, deadline_seconds=5), asyncio.Lock(), [])

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        writing = asyncio.create_task(liar.write_regularly())
        yield
        writing.cancel()
        await liar.store.close()

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> Response:
        return JSONResponse({"status": "ready", "spool_bytes": 0})

    return Starlette(
        routes=[
            Route("/events", liar.post_event, methods=["POST"]),
            Route("/health/live", live),
            Route("/health/ready", ready),
        ],
        lifespan=lifespan,
    )


if __name__ == "__main__":
    app = create_app(os.environ["DATABASE_URL"], "memory")
    uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning")
