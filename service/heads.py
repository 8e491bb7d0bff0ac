"""What the head of a request may be. httptools refuses most of what is none; this, the rest."""

from collections.abc import Sequence

from httptools import HttpRequestParser

MAX_HEAD_BYTES = 32 * 1024
"""Of a request line and its headers; and of whatever else is sent in a row and is no body."""

_TELLING = (b"host", b"transfer-encoding")


def fault_of(
    parser: HttpRequestParser, target: bytes, headers: Sequence[tuple[bytes, bytes]]
) -> str | None:
    """Return what is wrong with a head, in a sentence, or None.

    Refused is what one server might read in one way, and the next in another.
    """
    version = parser.get_http_version()
    if version not in ("1.1", "1.0"):
        return "HTTP/1.1 and HTTP/1.0 are spoken here."
    if target[:1] != b"/" or parser.get_method() == b"CONNECT":
        return "The target of a request must be a path: this is no proxy."
    telling = [line for line in headers if line[0] in _TELLING]
    if len(telling) == 1 and telling[0][0] == b"host":
        return None  # As nearly all of them.
    hosts = [value for name, value in telling if name == b"host"]
    codings = [value.strip().lower() for name, value in telling if name != b"host"]
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        return "There must be one header Host."
    if codings and (codings != [b"chunked"] or version == "1.0"):
        return "The only transfer coding is chunked, of HTTP/1.1."
    return None


def bytes_of(target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> int:
    """Return how long a head is, but for what separates its parts."""
    return len(target) + sum(len(name) + len(value) for name, value in headers)
