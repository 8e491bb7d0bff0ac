"""What the headers of a request say, without an object for them, and what all answers say."""

import random

from starlette.types import Scope

Headers = list[tuple[bytes, bytes]]

_ALWAYS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # With no-referrer a browser would not say which origin the login's form is of.
    (b"referrer-policy", b"same-origin"),
]
_UNLESS_SAID = {
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the value of the first header of that name, which is in lower case."""
    named: dict[bytes, bytes] | None = scope.get("named_headers")
    if named is None:
        # A request is asked for half a dozen names: once through its headers is enough.
        named = scope["named_headers"] = dict(reversed(scope["headers"]))
    return named.get(name)


def announced_bytes(scope: Scope) -> int:
    """Return how long the body is to be; 0 where no header says so."""
    # httptools has seen to it that these are digits; leading zeros may be thousands.
    return int((header(scope, b"content-length") or b"").lstrip(b"0") or 0)


def new_request_id() -> str:
    """Return an id for a request that brings none."""
    # No secret, so the kernel need not be asked for it.
    return random.getrandbits(64).to_bytes(8).hex()


def protect(headers: Headers) -> None:
    """Add what a browser has to know, that it may make nothing else of an answer that it shows.

    Pages say themselves what they load, and files how long they are kept.
    """
    names = {name for name, _ in headers}
    headers += _ALWAYS
    headers += [line for line in _UNLESS_SAID.items() if line[0] not in names]
