"""What senders are answered: ids and times as anybody else would write them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import example, given
from hypothesis import strategies as st

from service.ingest.answers import accepted, iso_time
from tests.support.events import make_event

SINCE_1970 = datetime(1970, 1, 1, tzinfo=UTC)
moments = st.integers(0, 253_402_300_799_999_999)


@given(microseconds=moments)
@example(microseconds=0)
@example(microseconds=999_999)
@example(microseconds=1_764_316_800_001_999)
def test_a_time_is_written_with_its_milliseconds(microseconds: int) -> None:
    moment = SINCE_1970 + timedelta(microseconds=microseconds)
    expected = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert iso_time(microseconds) == expected


@given(event_id=st.binary(min_size=16, max_size=16))
def test_an_id_is_written_as_a_uuid(event_id: bytes) -> None:
    answer = accepted(make_event()._replace(event_id=event_id))
    assert str(UUID(bytes=event_id)).encode() in answer
