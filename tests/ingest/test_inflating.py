"""inflate: what was compressed comes out whole, or is refused, in bounded memory."""

import gzip
import sys
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.ingest.inflating import MAX_MEMBERS, inflate
from service.problems import Problem

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 1024 * 1024
LIMIT = 8 * MIB
COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}

quick = settings(deadline=None, max_examples=100)
codings = pytest.mark.parametrize("coding", COMPRESS)


def status_of(body: bytes, coding: str, limit: int = LIMIT) -> int:
    with pytest.raises(Problem) as caught:
        inflate(body, coding, limit)
    return caught.value.kind.status


def zeros(coding: str, mebibytes: int) -> bytes:
    """Return what inflates to so many MiB, by 64 a member."""
    return COMPRESS[coding](bytes(64 * MIB)) * (mebibytes // 64)


@codings
@quick
@given(members=st.lists(st.binary(max_size=50) | st.just(b"x" * 40_000), min_size=1, max_size=8))
def test_any_members_come_out_one_after_another(coding: str, members: list[bytes]) -> None:
    body = b"".join(COMPRESS[coding](member) for member in members)
    assert inflate(body, coding, LIMIT) == b"".join(members)


@codings
@quick
@given(data=st.binary(min_size=1, max_size=2000), cut=st.integers(1, 2000))
def test_what_is_cut_short_is_refused(coding: str, data: bytes, cut: int) -> None:
    body = COMPRESS[coding](data)
    assert status_of(body[: -min(cut, len(body))], coding) == 400


@codings
@pytest.mark.parametrize("rest", [b"x", bytes(8), b"\x1f\x8b", b"{}"])
def test_what_follows_the_end_is_refused(coding: str, rest: bytes) -> None:
    assert status_of(COMPRESS[coding](b"[]") + rest, coding) == 400


@quick
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_damaged_gzip_is_refused_or_harmless(place: int, bit: int) -> None:
    body = bytearray(gzip.compress(b"some text, some text, some other text"))
    body[place % len(body)] ^= 1 << bit
    try:
        inflated = inflate(bytes(body), "gzip", LIMIT)
    except Problem:
        return
    # It was a bit of the head that says nothing of the data, such as the time.
    assert inflated == b"some text, some text, some other text"


@codings
def test_the_limit_is_exact(coding: str) -> None:
    compress = COMPRESS[coding]
    assert inflate(compress(bytes(LIMIT)), coding, LIMIT) == bytes(LIMIT)
    assert status_of(compress(bytes(LIMIT)) + compress(b"\0"), coding) == 413
    assert status_of(compress(bytes(LIMIT))[:-1], coding) == 400


@codings
def test_a_bomb_is_refused_in_bounded_memory(coding: str) -> None:
    body = zeros(coding, 10 * 1024)
    tracemalloc.start()
    try:
        assert status_of(body, coding) == 413
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * LIMIT


@codings
def test_members_without_end_are_refused(coding: str) -> None:
    member = COMPRESS[coding](b"")
    assert inflate(member * MAX_MEMBERS, coding, LIMIT) == b""
    assert status_of(member * (MAX_MEMBERS + 1), coding) == 413


def test_a_frame_that_asks_for_much_memory_is_refused() -> None:
    frame = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 24})
    assert status_of(frame.compress(b"[]") + frame.flush(), "zstd") == 400


def test_no_coding_is_no_change() -> None:
    assert inflate(b"[]", "identity", LIMIT) == b"[]"
