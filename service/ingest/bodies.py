"""The body of a request: what its headers say of it, and its bytes, as long as they are few."""

from functools import lru_cache
from typing import NamedTuple

from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope

from service.events import MAX_EVENT_BYTES
from service.headers import announced_bytes, header
from service.ingest.inflating import CODINGS
from service.ingest.patience import Patience
from service.ingest.room import Room
from service.problems import NOTHING_STORED, FieldError, Problem, ProblemKind, first_errors

BODY_SECONDS = 10.0
"""How long a body may take to arrive."""

CLOSE = {"Connection": "close"}

# navigator.sendBeacon sends text as text/plain; a request without a type is taken at its word.
UNTYPED = ("text/plain", "")


class BodyRules(NamedTuple):
    """What the body of an endpoint may be."""

    noun: str
    max_bytes: int
    types: tuple[str, ...] = ("application/json",)
    codings: tuple[str, ...] = ()


EVENT = BodyRules("event", MAX_EVENT_BYTES)
BATCH = BodyRules(
    "batch", 8 * 1024 * 1024, ("application/json", "application/x-ndjson"), codings=CODINGS
)


def refuse_parameters(scope: Scope) -> None:
    """Raise Problem where the URL has a query: no parameter but the key changes what is stored."""
    if (query := scope["query_string"]) and (others := QueryParams(query).keys() - {"key"}):
        raise Problem(
            ProblemKind.INVALID_QUERY,
            NOTHING_STORED,
            first_errors(
                FieldError(field=name, message="Is not a parameter of this endpoint")
                for name in sorted(others)
            ),
        )


def media_type_of(scope: Scope, rules: BodyRules) -> str:
    """Return the media type, "" where there is none. Raises Problem where it isn't taken."""
    media_type = _media_type(header(scope, b"content-type") or b"")
    if media_type not in (*rules.types, *UNTYPED):
        raise Problem(
            ProblemKind.NOT_JSON,
            f"Send the {rules.noun} as {' or '.join(rules.types)}.",
            headers={"Accept-Post": ", ".join(rules.types)},
        )
    return media_type


@lru_cache(maxsize=64)
def _media_type(content_type: bytes) -> str:
    return content_type.partition(b";")[0].strip().lower().decode("latin-1")


def coding_of(scope: Scope, rules: BodyRules) -> str:
    """Return the content coding, identity where there is none. Raises Problem likewise."""
    if header(scope, b"content-encoding") is None:
        return "identity"
    given = b",".join([value for name, value in scope["headers"] if name == b"content-encoding"])
    coding = given.strip().lower().decode("latin-1") or "identity"
    if coding not in ("identity", *rules.codings):
        known = ", ".join(rules.codings) or "identity"
        raise Problem(
            ProblemKind.UNKNOWN_CODING,
            f"The {rules.noun} may have these content codings: {known}.",
            headers={"Accept-Encoding": known},
        )
    return coding


async def read_body(
    scope: Scope, receive: Receive, rules: BodyRules, patience: Patience, room: Room
) -> bytes:
    """Return the body as it was sent.

    Raises Problem where it is too large, or too slow, or there is no room for it as it arrives.
    Once it is read the scope bears `body_is_read`: see service/requests.py.
    """
    if announced_bytes(scope) > rules.max_bytes:
        raise _too_large(rules)
    try:
        body = await patience.wait_for(_received(receive, rules, room))
    except TimeoutError:
        raise Problem(
            ProblemKind.BODY_TIMEOUT, "The body did not arrive in time.", headers=CLOSE
        ) from None
    scope["body_is_read"] = True
    return body


async def _received(receive: Receive, rules: BodyRules, room: Room) -> bytes:
    body = bytearray()
    held = 0
    try:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Problem(ProblemKind.MALFORMED_REQUEST, "The body was cut short.")
            body += message.get("body", b"")
            if len(body) > rules.max_bytes:
                raise _too_large(rules)
            if not message.get("more_body", False):
                return bytes(body)
            # What arrives in one piece needs none: others that are slow don't keep it out.
            room.take(len(body) - held, held=held)
            held = len(body)
    finally:
        room.give_back(held)


def _too_large(rules: BodyRules) -> Problem:
    detail = f"The body of the {rules.noun} may be at most {rules.max_bytes} bytes."
    return Problem(ProblemKind.BODY_TOO_LARGE, detail)
