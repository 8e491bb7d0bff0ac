"""Events as records of a file: each with a checksum, so that damage costs no neighbour.

A record is a mark to find its start by, the length and CRC-32 of its body, and the body. What lies
between records that are whole is damaged; reading goes on at the next mark.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator

from service.events import EVENT_TYPES, Event

MARK = b"\xf5\x0aTM1"
"""0xf5 is no byte of UTF-8, so no text holds it; a marker in damaged bytes has a wrong checksum."""

_HEAD = struct.Struct(f">{len(MARK)}sII")
_BODY = struct.Struct(">q16shBBH")
_TYPES = {name: number for number, name in enumerate(EVENT_TYPES)}


def encode(events: Iterable[Event]) -> bytes:
    """Return the events as records."""
    parts: list[bytes] = []
    for timestamp, event_id, site_id, user_id, event_type, payload, id_is_given in events:
        head = _BODY.pack(
            timestamp, event_id, site_id, _TYPES[event_type], id_is_given, len(user_id)
        )
        body = b"".join((head, user_id, payload))
        parts += (_HEAD.pack(MARK, len(body), zlib.crc32(body)), body)
    return b"".join(parts)


def decode(data: bytes) -> Iterator[Event | int]:
    """Yield the events of records; for what is damaged, how many bytes that are."""
    place = 0
    while place < len(data):
        end, event = _record(data, place)
        if event is None:
            end = data.find(MARK, place + 1)
            while end >= 0 and _record(data, end)[1] is None:
                end = data.find(MARK, end + 1)
            end = len(data) if end < 0 else end
            yield end - place
        else:
            yield event
        place = end


def _record(data: bytes, place: int) -> tuple[int, Event | None]:
    """Return the record's end, and the event, if there is a whole one at this place."""
    start = place + _HEAD.size
    if start > len(data):
        return len(data), None
    mark, length, checksum = _HEAD.unpack_from(data, place)
    end = start + length
    if mark != MARK or end > len(data) or length < _BODY.size:
        return place, None
    body = memoryview(data)[start:end]
    if zlib.crc32(body) != checksum:
        return place, None
    timestamp, event_id, site_id, type_number, given, user_bytes = _BODY.unpack_from(body)
    payload_start = _BODY.size + user_bytes
    if type_number >= len(EVENT_TYPES) or payload_start > length:
        return place, None
    return end, Event(
        timestamp,
        event_id,
        site_id,
        bytes(body[_BODY.size : payload_start]),
        EVENT_TYPES[type_number],
        bytes(body[payload_start:]),
        bool(given),
    )
