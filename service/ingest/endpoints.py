"""POST /events and /events/batch: read, validate, hand over to the writer, answer."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from service.access.access import Access
from service.access.checks import ANYBODY
from service.events import DEFAULT_SITE, Event, InvalidEventError, parse_event
from service.ingest.answers import accepted, accepted_batch, for_batch, for_event, invalid_event
from service.ingest.batches import Parsed
from service.ingest.bodies import (
    BATCH,
    BODY_SECONDS,
    EVENT,
    coding_of,
    media_type_of,
    read_body,
    refuse_parameters,
)
from service.ingest.parser import Parser
from service.ingest.patience import Patience
from service.ingest.room import Room
from service.ingest.waiting import Kept
from service.ingest.writer import Writer
from service.problems import Problem, ProblemKind
from service.rounding import Rounding


def routes(
    writer: Writer, access: Access, *, waiting_bytes: int, rounded: Rounding | None
) -> list[Route]:
    """Return the routes of ingest, that of POST /events first.

    So many bytes of bodies may be arriving, or wait to be parsed; one more is answered 503. Events
    are rounded as soon as they are valid.
    """
    patience = Patience(BODY_SECONDS)
    room = Room(waiting_bytes)
    parser = Parser(room, rounded)

    async def post_batch(request: Request) -> Response:
        scope = request.scope
        key = ANYBODY if access.admission is None else await access.admission(scope)
        media_type = media_type_of(scope, BATCH)
        coding = coding_of(scope, BATCH)
        refuse_parameters(scope)
        body = await read_body(scope, request.receive, BATCH, patience, room)
        expires = writer.deadline()
        site = key.site_id or DEFAULT_SITE
        parsed = await parser.parse(body, coding, media_type, site, expires=expires)
        late = 0
        if access.late_events is not None:
            late = access.late_events.count(key, [one for one in parsed if isinstance(one, Event)])
        try:
            kept = await _keep_each_once(parsed, expires)
        except Problem as problem:
            if access.late_events is not None:
                access.late_events.give_back(key, late)
            raise for_batch(problem, parsed) from None
        answer = accepted_batch(parsed, kept)
        return Response(answer, status_code=202, media_type="application/json")

    async def _keep_each_once(parsed: list[Parsed], expires: float) -> Kept:
        events = {one.event_id: one for one in parsed if isinstance(one, Event)}
        return await writer.keep(list(events.values()), expires=expires) if events else Kept()

    return [
        Route("/events", PostEvent(writer, access, patience, room, rounded), methods=["POST"]),
        OwnPathRoute("/events/batch", post_batch, methods=["POST"]),
    ]


class PostEvent:
    """POST /events as an ASGI application: at its rate each object that a request takes counts.

    Raises Problem, as endpoints do, before it has begun to answer.
    """

    def __init__(
        self,
        writer: Writer,
        access: Access,
        patience: Patience,
        room: Room,
        rounded: Rounding | None,
    ) -> None:
        self._writer = writer
        self._admission = access.admission
        self._late_events = access.late_events
        self._patience = patience
        self._room = room
        self._rounded = rounded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        answer = await self._keep(scope, receive)
        length = str(len(answer)).encode()
        headers = [(b"content-length", length), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _keep(self, scope: Scope, receive: Receive) -> bytes:
        key = ANYBODY if self._admission is None else await self._admission(scope)
        media_type_of(scope, EVENT)
        coding_of(scope, EVENT)
        refuse_parameters(scope)
        body = await read_body(scope, receive, EVENT, self._patience, self._room)
        try:
            event = parse_event(body, key.site_id or DEFAULT_SITE)
        except InvalidEventError as error:
            raise invalid_event(error) from None
        if self._rounded is not None:
            event = self._rounded(event)
        late = 0
        if self._late_events is not None:
            late = self._late_events.count(key, [event])
        try:
            kept = await self._writer.keep([event])
        except Problem as problem:
            if self._late_events is not None:
                self._late_events.give_back(key, late)
            raise for_event(problem, event) from None
        if kept.refused:
            raise Problem(ProblemKind.REFUSED_EVENT, "The event was not stored.")
        return accepted(event)


class OwnPathRoute(Route):
    """A route whose path is no other's, though GET /events/{event_id} would take it: else 405."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether the path is this route's, whatever the method."""
        match, child_scope = super().matches(scope)
        return (Match.FULL if match is Match.PARTIAL else match), child_scope
