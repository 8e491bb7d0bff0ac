"""A batch of events: each is read as if it had come alone, and one that is wrong harms no other."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Annotated, Any, cast

from pydantic import FailFast, Field, TypeAdapter, ValidationError, ValidationInfo, WrapValidator
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

from service.events import (
    DEFAULT_SITE,
    MAX_EVENT_BYTES,
    AnyEvent,
    Event,
    InvalidEventError,
    event_of,
    parse_event,
)
from service.problems import NOTHING_STORED, FieldError, Problem, ProblemKind
from service.rounding import Rounding

MAX_EVENTS = 10_000
MAX_VALUES = 1_000_000
"""Of an array: it is read as a whole, and 8 MiB of empty lists would be half a gigabyte."""

MAX_TOLD_ERRORS = 1000
"""Of a batch; after that many only the first of each event is told: an answer stays small."""

Parsed = Event | InvalidEventError
"""What became of one of the events sent."""


def parse_batch(
    body: bytes, media_type: str, site_id: int = DEFAULT_SITE, rounded: Rounding | None = None
) -> list[Parsed]:
    """Return what was sent, in its order: events, rounded where that is asked for, and why others
    are none.

    JSON is an array; NDJSON has an event a line, blank lines don't count. Without one of their
    types, what begins with [ is an array. Raises Problem where the whole is no batch.
    """
    array = media_type == "application/json" or (
        media_type != "application/x-ndjson" and body.lstrip(b" \t\r\n").startswith(b"[")
    )
    parsed = _parse_array(body, site_id) if array else list(_parse_lines(body, site_id))
    if not parsed:
        raise _no_batch("Must hold at least one event")
    if rounded is not None:
        parsed = [rounded(one) if isinstance(one, Event) else one for one in parsed]
    # What differs in nothing that is stored is the same.
    _refuse_second_contents(parsed)
    return parsed


def _no_batch(message: str) -> Problem:
    return Problem(
        ProblemKind.INVALID_BATCH,
        NOTHING_STORED,
        [FieldError(field="body", message=message)],
    )


def _more_than(limit: int, what: str) -> Problem:
    detail = f"A batch may hold at most {limit} {what}."
    return Problem(ProblemKind.BODY_TOO_LARGE, detail)


def _invalid(field: str, message: str) -> InvalidEventError:
    return InvalidEventError([FieldError(field=field, message=message)])


_TOO_LARGE = f"Must be at most {MAX_EVENT_BYTES} bytes"


Validate = Callable[[Any], Any]


class _Telling:
    """Says which site the events are of, and keeps of errors what is told of them."""

    def __init__(self, site_id: int) -> None:
        self.site_id = site_id
        self._left = MAX_TOLD_ERRORS

    def told(self, error: InvalidEventError) -> InvalidEventError:
        """Return as much of an error as there is room for.

        It is a new one: what was raised holds on to all that it was raised for.
        """
        errors = error.errors[: max(self._left, 1)]
        self._left -= len(errors)
        return InvalidEventError(errors, clock=error.clock)


def _parse_item(item: Any, validate: Validate, telling: _Telling) -> Parsed:
    try:
        event = event_of(item, validate, telling.site_id)
    except InvalidEventError as error:
        return telling.told(error)
    # How it was written is not known any more; what is stored of it is what there is to bound.
    return event if len(event.payload) <= MAX_EVENT_BYTES else _invalid("payload", _TOO_LARGE)


def _as_it_is(event: Any) -> Any:
    return event


def _parse_apart(item: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Parsed:
    return _parse_item(item, validate, cast("_Telling", info.context))


_FEW = Field(max_length=MAX_EVENTS)
_ALL_VALID: TypeAdapter[list[Any]] = TypeAdapter(Annotated[list[AnyEvent], _FEW, FailFast()])
_APART: TypeAdapter[Any] = TypeAdapter(
    Annotated[list[Annotated[AnyEvent, WrapValidator(_parse_apart)]], _FEW]
)


def _parse_array(body: bytes, site_id: int) -> list[Parsed]:
    # A value stands after one of these, at the most; in texts they are few.
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > MAX_VALUES:
        raise _more_than(MAX_VALUES, "values")
    telling = _Telling(site_id)
    # Mostly nothing is wrong: then all are validated at once, in two thirds of the time.
    with suppress(ValidationError):
        events = _ALL_VALID.validate_json(body)
        return [_parse_item(event, _as_it_is, telling) for event in events]
    try:
        parsed: list[Parsed] = _APART.validate_json(body, context=telling)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        if found["type"] == "too_long":
            raise _more_than(MAX_EVENTS, "events") from None
        raise _no_batch(found["msg"]) from None
    return parsed


# From the first character that is not blank: blank lines are passed over as fast as can be.
_LINE = re.compile(rb"[^ \t\r\n][^\n]*")


def _parse_lines(body: bytes, site_id: int) -> Iterator[Parsed]:
    telling = _Telling(site_id)
    for number, line in enumerate(_LINE.finditer(body)):
        if number == MAX_EVENTS:
            raise _more_than(MAX_EVENTS, "events")
        text = line[0].rstrip(b" \t\r")
        if len(text) > MAX_EVENT_BYTES:
            yield _invalid("body", _TOO_LARGE)
            continue
        try:
            yield parse_event(text, site_id)
        except InvalidEventError as error:
            yield telling.told(error)


def _refuse_second_contents(parsed: list[Parsed]) -> None:
    """Refuse events whose id an earlier event of the batch has with another content."""
    first: dict[bytes, Event] = {}
    for index, event in enumerate(parsed):
        if not isinstance(event, Event) or not event.id_is_given:
            continue  # Ids of ours are all different.
        if first.setdefault(event.event_id, event) != event:
            message = "Is the id of another event of this batch, with another content"
            parsed[index] = _invalid("event_id", message)
