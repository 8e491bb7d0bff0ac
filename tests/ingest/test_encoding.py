"""What is encoded is what is stored, whichever way it is written."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.pq import Format

from service.database.connections import load_query
from service.events import MICROSECONDS, Event, new_event_id
from service.ingest.encoding import COPY_EVENTS, encode_arrays, encode_copy
from tests.support.json_values import json_values, texts

# Some days before and after the moment from which PostgreSQL counts, in milliseconds.
moments = st.integers(946_684_800_000 - 3 * 86_400_000, 946_684_800_000 + 3 * 86_400_000)


def with_doubles(value: Any) -> Any:
    """Return a JSON value with each number as a double, as which it counts."""
    match value:
        case bool():
            return value
        case int() | float():
            return float(value)
        case list():
            return [with_doubles(member) for member in value]
        case dict():
            return {key: with_doubles(member) for key, member in value.items()}
    return value


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Draw any event that validation lets through."""
    milliseconds = draw(moments)
    payload = draw(st.dictionaries(texts, json_values, max_size=4))
    return Event(
        milliseconds * 1000,
        new_event_id(milliseconds),
        draw(st.integers(1, 32767)),
        draw(texts.filter(str.strip)).encode(),
        draw(st.sampled_from(["view", "click", "location"])),
        json.dumps(payload).encode(),
    )


def copy_in(connection: psycopg.Connection, written: Sequence[Event]) -> None:
    """Write by COPY."""
    with connection.cursor().copy(COPY_EVENTS) as copy:
        copy.write(encode_copy(written))


def insert(connection: psycopg.Connection, written: Sequence[Event]) -> None:
    """Write by INSERT ... SELECT unnest."""
    arrays = encode_arrays(written)
    formats = [Format.BINARY] * len(arrays)
    result = connection.pgconn.exec_params(
        load_query("insert_events"), arrays, param_formats=formats
    )
    assert result.ntuples == len(written), result.error_message


@pytest.mark.parametrize("write", [copy_in, insert])
@given(written=st.lists(events(), min_size=1, max_size=20))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_read_is_what_was_written(
    write: Callable[[psycopg.Connection, Sequence[Event]], None],
    database_url: str,
    written: list[Event],
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("truncate events")
        write(connection, written)
        rows = connection.execute(
            "select timestamp, event_id, site_id, user_id, event_type::text, payload from events"
        ).fetchall()
    expected = [
        (
            datetime.fromtimestamp(event.timestamp / MICROSECONDS, UTC),
            UUID(bytes=event.event_id),
            event.site_id,
            event.user_id.decode(),
            event.event_type,
            with_doubles(json.loads(event.payload)),
        )
        for event in written
    ]
    found = [(*row[:-1], with_doubles(row[-1])) for row in rows]
    assert sorted(found, key=lambda row: row[1]) == sorted(expected, key=lambda row: row[1])
