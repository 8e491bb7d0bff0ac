"""What an event is: the one definition, and the one validation, on the bytes of a request."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypeVar, get_args
from uuid import UUID

import uuid_utils
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import to_json
from typing_extensions import TypedDict

from service.problems import MAX_FIELD_CHARACTERS, FieldError, first_errors

EventType = Literal["view", "click", "location"]
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)

DEFAULT_SITE = 1
MAX_EVENT_BYTES = 64 * 1024
MAX_USER_ID_BYTES = 256

MAX_LISTED_ERRORS = 50
"""An event that has more is not looked at closely."""

MICROSECONDS = 1_000_000
LATE_WINDOW_MILLISECONDS = 7 * 24 * 3600 * 1000
"""How old a given id may be: until then, sending an event again can't store it twice."""
AHEAD_WINDOW_MILLISECONDS = 5 * 60 * 1000
"""How far ahead of ours a sender's clock may be."""


class InvalidEventError(ValueError):
    """The bytes are not an event; `errors` says where and why."""

    def __init__(self, errors: list[FieldError], *, clock: int | None = None) -> None:
        super().__init__(errors[0]["message"])
        self.errors = errors
        self.clock = clock
        """Our milliseconds since 1970, where the sender's clock may be the reason."""


class Event(NamedTuple):
    """A valid event, in the form in which it is written."""

    timestamp: int
    """Microseconds since 1970, UTC; always the millisecond that the event_id holds."""
    event_id: bytes
    """A UUIDv7, 16 bytes."""
    site_id: int
    user_id: bytes
    event_type: EventType
    payload: bytes
    """JSON, UTF-8."""
    id_is_given: bool = False
    """Whether the sender chose the id, so that the event may be stored already."""


def _storable_user_id(user_id: str) -> str:
    if not user_id.strip():
        raise ValueError("Must not be empty")
    if "\0" in user_id:
        raise ValueError("Must not contain the character \\u0000")
    if len(user_id.encode()) > MAX_USER_ID_BYTES:
        raise ValueError(f"Must be at most {MAX_USER_ID_BYTES} bytes of UTF-8")
    return user_id


# What str.strip() takes for blank, one by one: the \s of JSON Schema's patterns is another set.
_NOT_BLANK = r"[^\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"

UserId = Annotated[
    str,
    AfterValidator(_storable_user_id),
    Field(
        description=f"A session's or user's id, at most {MAX_USER_ID_BYTES} bytes of UTF-8",
        examples=["user-42"],
        # Told, and not checked a second time.
        json_schema_extra={"minLength": 1, "maxLength": MAX_USER_ID_BYTES, "pattern": _NOT_BLANK},
    ),
]

EventId = Annotated[
    UUID,
    Field(
        description="A UUIDv7 of the sender's own, at most 7 days old and 5 minutes ahead; its "
        "millisecond is the event's timestamp. An event sent again under its id is stored once",
        json_schema_extra={
            "pattern": "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-7[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-"
            "[0-9a-fA-F]{12}$"
        },
    ),
]

# Keys that are not named here are kept: a payload is the site's own.
_OPEN = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)
_CLOSED = ConfigDict(extra="forbid", strict=True)


class ViewPayload(TypedDict):
    """The page that was viewed."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]
    url: Annotated[str, Field(min_length=1, description="The page's URL")]
    title: NotRequired[Annotated[str | None, Field(description="The page's title")]]


class ClickPayload(TypedDict):
    """The element that was clicked."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]
    element_id: NotRequired[Annotated[str | None, Field(description="The element's id")]]
    text: NotRequired[Annotated[str | None, Field(description="The element's text")]]
    xpath: NotRequired[
        Annotated[str | None, Field(description="An XPath or CSS selector of the element")]
    ]


class LocationPayload(TypedDict):
    """Where the user is."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]
    latitude: Annotated[float, Field(ge=-90, le=90, description="Degrees north")]
    longitude: Annotated[float, Field(ge=-180, le=180, description="Degrees east")]
    accuracy: NotRequired[Annotated[float | None, Field(ge=0, description="Metres")]]


class ViewEvent(TypedDict):
    """A page was viewed."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    user_id: UserId
    event_type: Literal["view"]
    event_id: NotRequired[EventId]
    payload: ViewPayload


class ClickEvent(TypedDict):
    """An element was clicked."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    user_id: UserId
    event_type: Literal["click"]
    event_id: NotRequired[EventId]
    payload: ClickPayload


class LocationEvent(TypedDict):
    """A location was reported."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    user_id: UserId
    event_type: Literal["location"]
    event_id: NotRequired[EventId]
    payload: LocationPayload


FIELD_NAMES = frozenset(
    name
    for model in (ViewEvent, ViewPayload, ClickPayload, LocationPayload)
    for name in model.__annotations__
)

AnyEvent = Annotated[ViewEvent | ClickEvent | LocationEvent, Field(discriminator="event_type")]
EventBody: TypeAdapter[ViewEvent | ClickEvent | LocationEvent] = TypeAdapter(AnyEvent)

Source = TypeVar("Source")

# What JSON may hold and jsonb may not. It is looked for in the JSON that is stored anyway, which is
# cheap; only where one of these turns up (it may be harmless text) is the payload walked.
_SUSPICIOUS = re.compile(rb"NaN|Infinity|\\u0000")


def parse_event(body: bytes, site_id: int = DEFAULT_SITE) -> Event:
    """Return the event that the bytes of a request hold.

    It has the id that the sender gave, or a new one, and the time that the id holds. Numbers are
    integers of up to 4,300 digits or IEEE doubles, as in a browser; of two equal keys the last
    counts. Raises InvalidEventError.
    """
    return event_of(body, EventBody.validate_json, site_id)


def event_of(
    source: Source,
    validate: Callable[[Source], ViewEvent | ClickEvent | LocationEvent],
    site_id: int = DEFAULT_SITE,
) -> Event:
    """Return the event that `validate`, which is pydantic's, makes of the source.

    Raises InvalidEventError.
    """
    try:
        event = validate(source)
    except ValidationError as error:
        raise InvalidEventError(_errors_of(error)) from None
    payload = to_json(event["payload"], inf_nan_mode="constants")
    if _SUSPICIOUS.search(payload) and (
        errors := first_errors(_unstorable("payload", event["payload"]))
    ):
        raise InvalidEventError(errors)
    milliseconds = time.time_ns() // 1_000_000
    given = event.get("event_id")
    if given is not None:
        milliseconds = _given_milliseconds(given, milliseconds)
    return Event(
        milliseconds * 1000,
        new_event_id(milliseconds) if given is None else given.bytes,
        site_id,
        event["user_id"].encode(),
        event["event_type"],
        payload,
        given is not None,
    )


def _given_milliseconds(given: UUID, now: int) -> int:
    if given.version != 7:
        raise InvalidEventError([FieldError(field="event_id", message="Must be a UUIDv7")])
    milliseconds = given.int >> 80
    if not now - LATE_WINDOW_MILLISECONDS <= milliseconds <= now + AHEAD_WINDOW_MILLISECONDS:
        message = "Must be at most 7 days old and at most 5 minutes ahead of server_time"
        raise InvalidEventError([FieldError(field="event_id", message=message)], clock=now)
    return milliseconds


def new_event_id(milliseconds: int) -> bytes:
    """Return a UUIDv7 of that millisecond since 1970, as its 16 bytes."""
    return uuid_utils.uuid7(nanoseconds=milliseconds * 1_000_000).bytes


def _errors_of(error: ValidationError) -> list[FieldError]:
    if error.error_count() > MAX_LISTED_ERRORS:
        # Only unknown fields can be so many. To list them would take a hundred times as long.
        return [FieldError(field="body", message="Has far too many unknown fields")]
    return first_errors(_field_errors(error))


def _field_errors(error: ValidationError) -> Iterator[FieldError]:
    for found in error.errors(include_url=False, include_context=False, include_input=False):
        # A location starts with the event_type by which pydantic chose what to check against.
        field = ".".join(str(part) for part in found["loc"][1:])
        match found["type"]:
            case "union_tag_not_found":
                yield FieldError(field="event_type", message="Field required")
            case "union_tag_invalid":
                allowed = ", ".join(EVENT_TYPES)
                yield FieldError(field="event_type", message=f"Must be one of {allowed}")
            case "dict_type" | "model_attributes_type":
                # pydantic has other words for it where it reads an event of a batch.
                yield FieldError(field=field or "body", message="Input should be an object")
            case "extra_forbidden":
                yield FieldError(field=field, message="Unknown field")
            case _:
                message = found["msg"].removeprefix("Value error, ")
                yield FieldError(field=field or "body", message=message)


def _unstorable(field: str, value: Any) -> Iterator[FieldError]:
    field = field[:MAX_FIELD_CHARACTERS]  # Keys may be long, and nested.
    match value:
        case float() if value - value != 0:
            yield FieldError(field=field, message="Must be a finite number (an IEEE double)")
        case str() if "\0" in value:
            yield FieldError(field=field, message="Must not contain the character \\u0000")
        case dict():
            for key, member in value.items():
                if "\0" in key:
                    yield FieldError(field=field, message="A key must not contain \\u0000")
                yield from _unstorable(f"{field}.{key}", member)
        case list():
            for index, member in enumerate(value):
                yield from _unstorable(f"{field}.{index}", member)
