"""What the head of a request may be. httptools refuses most of what is none; this, the rest."""

from collections.abc import Sequence

MAX_HEAD_BYTES = 32 * 1024
"""Of a request line and its headers; and of whatever else is sent in a row and is no body."""

_VERSIONS = ("1.1", "1.0")


def fault_of(
    method: bytes, target: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]
) -> str | None:
    """Return what is wrong with a head, in a sentence, or None.

    Refused is what one server might read in one way, and the next in another.
    """
    if version not in _VERSIONS:
        return "HTTP/1.1 and HTTP/1.0 are spoken here."
    if target[:1] != b"/" or method == b"CONNECT":
        return "The target of a request must be a path: this is no proxy."
    names = [name for name, _ in headers]
    hosts = names.count(b"host")
    if hosts != 1 and (hosts or version == "1.1"):
        return "There must be one header Host."
    if b"transfer-encoding" in names:
        coding = headers[names.index(b"transfer-encoding")][1].strip().lower()
        if coding != b"chunked" or version != "1.1":
            return "The only transfer coding is chunked, of HTTP/1.1."
    return None


def bytes_of(target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> int:
    """Return how long a head is, but for what separates its parts."""
    return len(target) + sum(len(name) + len(value) for name, value in headers)
