"""What the headers of a request say, without an object for them."""

from starlette.types import Scope


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the value of the first header of that name, which is in lower case."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    for key, value in headers:
        if key == name:
            return value
    return None


def announced_bytes(scope: Scope) -> int:
    """Return how long the body is to be; 0 where no header says so."""
    # httptools has seen to it that these are digits; leading zeros may be thousands.
    return int((header(scope, b"content-length") or b"").lstrip(b"0") or 0)
