"""Events in PostgreSQL's binary formats: rows for COPY, and one array a column for unnest.

Formats: "COPY, Binary Format" in PostgreSQL's manual; arrays as array_send() writes them.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence

from psycopg import sql

from service.events import EVENT_TYPES, Event

COLUMNS = Event._fields[:6]

COPY_EVENTS = sql.SQL("copy events ({}) from stdin (format binary)").format(
    sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
)

# PostgreSQL counts microseconds from 2000-01-01.
_EPOCH = 946_684_800_000_000

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = struct.pack(">h", -1)


def _with_length(value: bytes) -> bytes:
    return struct.pack(">i", len(value)) + value


_EVENT_TYPE = {name: _with_length(name.encode()) for name in EVENT_TYPES}

# Number of columns; timestamp, event_id and site_id, each after its length; length of user_id.
_row_head = struct.Struct(">hiqi16sihi").pack
# Length of payload and the version of jsonb's binary format.
_jsonb_head = struct.Struct(">iB").pack


def encode_rows(events: Iterable[Event]) -> bytes:
    """Return the events as rows of a binary COPY, without its header and trailer."""
    return b"".join(
        [
            part
            for timestamp, event_id, site_id, user_id, event_type, payload, _ in events
            for part in (
                _row_head(6, 8, timestamp - _EPOCH, 16, event_id, 2, site_id, len(user_id)),
                user_id,
                _EVENT_TYPE[event_type],
                _jsonb_head(len(payload) + 1, 1),
                payload,
            )
        ]
    )


def encode_copy(events: Iterable[Event]) -> bytes:
    """Return the events as a whole binary COPY."""
    return _HEADER + encode_rows(events) + _TRAILER


def encode_copy_stream(batches: Iterable[Iterable[Event]]) -> Iterator[bytes]:
    """Yield one whole binary COPY, a batch at a time."""
    yield _HEADER
    for batch in batches:
        yield encode_rows(batch)
    yield _TRAILER


_TIMESTAMPTZ, _UUID, _INT2, _TEXT, _JSONB = 1184, 2950, 21, 25, 3802
_array_head = struct.Struct(">iiIii").pack
_timestamp = struct.Struct(">iq").pack
_uuid = struct.Struct(">i16s").pack
_int2 = struct.Struct(">ih").pack


def encode_arrays(events: Sequence[Event]) -> list[bytes]:
    """Return one binary array for each column, event_type as text."""
    count = len(events)

    def array(element_type: int, elements: Iterable[bytes]) -> bytes:
        # One dimension, no nulls, the elements' type, how many, and the first one's index.
        return _array_head(1, 0, element_type, count, 1) + b"".join(elements)

    timestamps, event_ids, site_ids, user_ids, event_types, payloads, _ = zip(*events, strict=True)
    return [
        array(_TIMESTAMPTZ, [_timestamp(8, timestamp - _EPOCH) for timestamp in timestamps]),
        array(_UUID, [_uuid(16, event_id) for event_id in event_ids]),
        array(_INT2, [_int2(2, site_id) for site_id in site_ids]),
        array(_TEXT, [_with_length(user_id) for user_id in user_ids]),
        array(_TEXT, [_EVENT_TYPE[event_type] for event_type in event_types]),
        array(_JSONB, [_jsonb_head(len(payload) + 1, 1) + payload for payload in payloads]),
    ]
