"""What the headers of a request say, without an object for them."""

from starlette.types import Scope


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the value of the first header of that name, which is in lower case."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    for key, value in headers:
        if key == name:
            return value
    return None
