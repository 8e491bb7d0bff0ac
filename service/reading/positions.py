"""A place in the order of events, and the cursor that says it."""

import base64
import struct
from typing import Annotated, Any, NamedTuple
from uuid import UUID

from psycopg.adapt import Dumper
from psycopg.pq import Format
from pydantic import BeforeValidator, WithJsonSchema

FIRST = -211_813_488_000_000_000
LAST = 9_222_424_646_399_999_999
"""What a hypertable takes: instants from 4714 BC to 294246. Nothing can be compared with the one
behind the last, so a cursor stands before it."""
SINCE_1970 = 946_684_800_000_000

_instant = struct.Struct(">q").pack
_position = struct.Struct(">q16s")


class Instant(int):
    """Microseconds since 2000-01-01, UTC, as PostgreSQL counts: a datetime ends with the year 9999.

    Instants are counted with as integers, and become this where a statement takes them.
    """


class InstantDumper(Dumper):
    """Passes an Instant on as a timestamptz."""

    format = Format.BINARY
    oid = 1184

    def dump(self, obj: Instant) -> bytes:
        """Return the timestamptz in PostgreSQL's binary format."""
        return _instant(obj)


class Position(NamedTuple):
    """Where an event stands: events of one instant are in the order of their ids."""

    at: int
    """An instant, in microseconds since 2000."""
    event_id: UUID

    def cursor(self) -> str:
        """Return it as 32 characters that a URL takes as they are."""
        return base64.urlsafe_b64encode(_position.pack(self.at, self.event_id.bytes)).decode()

    @classmethod
    def of_cursor(cls, cursor: str) -> "Position":
        """Return the position that a cursor says. Raises ValueError."""
        packed = base64.b64decode(cursor.encode("ascii"), b"-_", validate=True)
        if len(packed) != _position.size:
            raise ValueError
        at, event_id = _position.unpack(packed)
        if not FIRST <= at < LAST:
            raise ValueError
        return cls(at, UUID(bytes=event_id))


def _read_cursor(value: Any) -> Any:
    try:
        return Position.of_cursor(value)
    except ValueError:
        raise ValueError("Must be the next of an earlier answer") from None


Cursor = Annotated[
    Position | None,
    BeforeValidator(_read_cursor),
    WithJsonSchema(
        {
            "type": "string",
            "format": "cursor",
            "pattern": "^[A-Za-z0-9_-]{32}$",
            "examples": [Position(0, UUID(int=0)).cursor()],
        }
    ),
]
