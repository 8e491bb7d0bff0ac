"""Bodies that were compressed on their way: the bytes that they stand for, up to a limit."""

import sys
import zlib
from collections.abc import Callable
from typing import Protocol

from service.problems import Problem, ProblemKind

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CODINGS = ("gzip", "zstd")

BLOCK_BYTES = 16 * 1024
MAX_MEMBERS = 10_000
"""A body may be that many compressed files, one after another: enough for one an event."""
MAX_WINDOW_LOG = 23
"""How much a zstd frame may ask to be remembered: 8 MiB, as RFC 9659 has it for HTTP."""


class Member(Protocol):
    """One compressed file that is being read."""

    @property
    def eof(self) -> bool:
        """Whether its end was reached, and its checksum is right."""

    @property
    def unused_data(self) -> bytes:
        """What came after its end."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return what the data stand for, at most so many bytes."""


def _gzip_member() -> Member:
    return zlib.decompressobj(wbits=31)


def _zstd_frame() -> Member:
    return zstd.ZstdDecompressor(
        options={zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG}
    )


_MEMBERS: dict[str, Callable[[], Member]] = {"gzip": _gzip_member, "zstd": _zstd_frame}


def inflate(body: bytes, coding: str, limit: int) -> bytes:
    """Return what the body stands for; `coding` is identity or one of CODINGS.

    Never holds more than twice the limit. Raises Problem where it would be more than `limit` bytes,
    and where the body is cut short, damaged, or followed by something else.
    """
    if coding == "identity":
        return body
    try:
        return _inflate(body, _MEMBERS[coding], limit)
    except (zlib.error, zstd.ZstdError, EOFError):
        detail = f"The body is not whole {coding}, or asks for too much memory."
        raise Problem(ProblemKind.MALFORMED_REQUEST, detail) from None


def _inflate(body: bytes, start: Callable[[], Member], limit: int) -> bytes:
    inflated = bytearray()
    member, members = start(), 1
    # By blocks: what follows a member is copied, which for many members must not be all the rest.
    for offset in range(0, len(body), BLOCK_BYTES):
        rest = body[offset : offset + BLOCK_BYTES]
        while rest:
            if member.eof:
                member, members = start(), members + 1
            # All of the input is taken unless the output reaches its limit, which ends it here.
            inflated += member.decompress(rest, limit + 1 - len(inflated))
            if len(inflated) > limit or members > MAX_MEMBERS:
                detail = f"Inflated, a batch may be at most {limit} bytes."
                raise Problem(ProblemKind.BODY_TOO_LARGE, detail)
            rest = member.unused_data
    if not member.eof:
        raise EOFError
    return bytes(inflated)
