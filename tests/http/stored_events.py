"""Events as hypothesis draws them, put into the table by SQL, and read back by plain SQL."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from service.events import EVENT_TYPES
from tests.support.databases import Database
from tests.support.json_values import json_values, texts

START = datetime(2025, 5, 27, tzinfo=UTC)

# Few instants, so that many are equal, and the edges of days, of windows, and of milliseconds.
instants = st.one_of(
    st.sampled_from([0, 1, 999, 1000, 86_399_999_999, 86_400_000_000, 10 * 86_400_000_000]),
    st.integers(0, 3 * 86_400_000_000),
).map(lambda microseconds: START + timedelta(microseconds=microseconds))

users = (
    st.sampled_from(
        ["user-1", "user-2", "=1+1", "'=1", "-", "a,b", 'a"b', "a\nb", "\\", "\uff1d1", "%s"]
    )
    | texts
)


class Stored(NamedTuple):
    """A row of the table."""

    timestamp: datetime
    event_id: UUID
    site_id: int
    user_id: str
    event_type: str
    payload: dict[str, Any]

    @property
    def document(self) -> dict[str, Any]:
        """As the service answers it, but for the form of the timestamp and of numbers."""
        return {
            "event_id": str(self.event_id),
            "timestamp": self.timestamp,
            "site": self.site_id,
            "user_id": self.user_id,
            "event_type": self.event_type,
            "payload": self.payload,
        }


def milliseconds(moment: datetime) -> int:
    """Return the whole milliseconds since 1970."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@st.composite
def stored_events(draw: st.DrawFn) -> Stored:
    """A row with an id of its own, which tells its millisecond, or any id."""
    timestamp = draw(instants)
    tells = milliseconds(timestamp) << 80 | 7 << 76 | 2 << 62
    return Stored(
        timestamp,
        draw(st.integers(0, 2**62 - 1).map(lambda bits: UUID(int=tells | bits)) | st.uuids()),
        draw(st.sampled_from([1, 1, 2])),
        draw(users),
        draw(st.sampled_from(EVENT_TYPES)),
        draw(st.dictionaries(texts, json_values, max_size=3)),
    )


many_events = st.lists(stored_events(), max_size=30, unique_by=lambda row: row.event_id)


def put(database: Database, events: list[Stored]) -> None:
    """Put rows into the table."""
    rows = [(*event[:5], Jsonb(event.payload)) for event in events]
    with database.transaction():
        database.cursor().executemany(
            "insert into events (timestamp, event_id, site_id, user_id, event_type, payload) "
            "values (%s, %s, %s, %s, %s::event_type, %s)",
            rows,
        )


class Choice(NamedTuple):
    """What a query asks for: None is anything."""

    start: datetime | None = None
    end: datetime | None = None
    site: int | None = None
    user_id: str | None = None
    event_type: str | None = None

    def query(self, **more: Any) -> str:
        """Return the query string."""
        values = {
            "start_date": None if self.start is None else self.start.isoformat(),
            "end_date": None if self.end is None else self.end.isoformat(),
            "site": self.site,
            "user_id": self.user_id,
            "event_type": self.event_type,
            **more,
        }
        return urlencode({name: value for name, value in values.items() if value is not None})

    def chosen(self, database: Database) -> list[Stored]:
        """Return the rows, the oldest first, by a statement that could not be plainer."""
        rows = database.execute(
            """
            select timestamp, event_id, site_id, user_id, event_type::text, payload::text
            from events
            where timestamp between %s and %s and site_id = %s
              and (%s or user_id = %s) and (%s or event_type::text = %s)
            order by timestamp, event_id
            """,
            [
                self.start or datetime.min.replace(tzinfo=UTC),
                self.end or datetime.max.replace(tzinfo=UTC),
                self.site or 1,
                self.user_id is None,
                self.user_id,
                self.event_type is None,
                self.event_type,
            ],
        ).fetchall()
        return [Stored._make((*row[:5], json.loads(row[5]))) for row in rows]


@st.composite
def choices(draw: st.DrawFn) -> Choice:
    """Any filters together; users that can be asked for."""
    start, end = draw(st.none() | instants), draw(st.none() | instants)
    if start is not None and end is not None:
        start, end = sorted([start, end])
    askable = users.filter(lambda user: bool(user.strip()))
    return Choice(
        start,
        end,
        draw(st.none() | st.sampled_from([1, 2])),
        draw(st.none() | st.none() | st.just("user-1") | askable),
        draw(st.none() | st.none() | st.sampled_from(EVENT_TYPES)),
    )


def as_documents(events: list[Stored]) -> list[dict[str, Any]]:
    """Return rows as the service answers them."""
    return [event.document for event in events]


def read(document: dict[str, Any]) -> dict[str, Any]:
    """Return an answered event with its timestamp read, which must be RFC 3339 in UTC."""
    text = document["timestamp"]
    assert text.endswith("Z")
    assert len(text) in (len("2025-05-28T09:30:00.123Z"), len("2025-05-28T09:30:00.123456Z"))
    return document | {"timestamp": datetime.fromisoformat(text)}
