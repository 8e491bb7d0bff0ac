"""parse_batch: each event is read as if it had come alone; the limits; what is no batch."""

import json
import time
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.events import (
    LATE_WINDOW_MILLISECONDS,
    MAX_EVENT_BYTES,
    Event,
    InvalidEventError,
    new_event_id,
    parse_event,
)
from service.ingest.batches import MAX_EVENTS, MAX_VALUES, Parsed, parse_batch
from service.problems import Problem
from tests.support.json_values import json_values, texts

quick = settings(deadline=None, max_examples=200)

JSON, NDJSON = "application/json", "application/x-ndjson"
VIEW = {"user_id": "u", "event_type": "view", "payload": {"url": "/"}}
VIEW_BYTES = json.dumps(VIEW).encode()

names = st.sampled_from(["url", "title", "text", "latitude", "longitude", "accuracy"])
any_json = json_values | st.sampled_from([10**400, float("nan"), "\0", -float("inf")])
near_events = st.fixed_dictionaries(
    {
        "user_id": st.just("u") | any_json,
        "event_type": st.sampled_from(["view", "click", "location"]) | any_json,
        "payload": st.dictionaries(names | texts, texts | any_json, max_size=4) | any_json,
    },
    optional={"extra": any_json, "event_id": st.uuids().map(str) | any_json},
)
views = st.builds(
    lambda more: VIEW | {"payload": {**more, "url": "/"}},
    st.dictionaries(texts, json_values, max_size=3),
)


def given_id(milliseconds_from_now: int = 0) -> str:
    return str(UUID(bytes=new_event_id(time.time_ns() // 1_000_000 + milliseconds_from_now)))


def array(*events: Any) -> list[Parsed]:
    return parse_batch(json.dumps(events).encode(), JSON)


def lines(*texts: bytes) -> list[Parsed]:
    return parse_batch(b"\n".join(texts), NDJSON)


def outcome(parsed: Parsed) -> Any:
    """Return what must not depend on how an event came: all but a new id and its time."""
    if isinstance(parsed, Event):
        return parsed._replace(timestamp=0, event_id=b"")
    return {error["field"] for error in parsed.errors}


def alone(text: bytes) -> Any:
    try:
        return outcome(parse_event(text))
    except InvalidEventError as error:
        return outcome(error)


def fields(parsed: Parsed) -> list[str]:
    assert isinstance(parsed, InvalidEventError)
    return [error["field"] for error in parsed.errors]


def status_of(body: bytes, media_type: str) -> int:
    with pytest.raises(Problem) as caught:
        parse_batch(body, media_type)
    return caught.value.kind.status


@quick
@given(documents=st.lists(near_events | views | any_json, min_size=1, max_size=6))
@example(documents=[VIEW, {**VIEW, "payload": {"url": 1, "title": []}}, None, [VIEW], "view", {}])
@example(documents=[{**VIEW, "event_type": "location", "payload": {"latitude": 10**400}}])
def test_each_event_is_read_as_if_it_had_come_alone(documents: list[Any]) -> None:
    texts = [json.dumps(document).encode() for document in documents]
    expected = [alone(text) for text in texts]
    assert [outcome(one) for one in parse_batch(b"[" + b",".join(texts) + b"]", JSON)] == expected
    assert [outcome(one) for one in lines(*texts)] == expected


@quick
@given(texts=st.lists(st.binary(max_size=30) | st.just(VIEW_BYTES), max_size=6))
def test_any_lines_are_events_or_refused_each(texts: list[bytes]) -> None:
    body = b"\n".join([VIEW_BYTES, *texts])
    rest = [line for line in body.split(b"\n") if line.strip(b" \t\r")]
    assert [outcome(one) for one in parse_batch(body, NDJSON)] == [alone(line) for line in rest]


def test_messages_are_those_of_an_event_alone() -> None:
    for document in (None, VIEW | {"payload": []}, VIEW | {"event_type": "x"}, VIEW | {"a": 1}):
        with pytest.raises(InvalidEventError) as caught:
            parse_event(json.dumps(document).encode())
        (parsed,) = array(document)
        assert isinstance(parsed, InvalidEventError)
        assert parsed.errors == caught.value.errors


def test_blank_lines_are_no_events_and_have_no_index() -> None:
    parsed = lines(b"", b" \t\r", VIEW_BYTES + b"\r", b"", b"{", b"  " + VIEW_BYTES + b" ", b"")
    assert [isinstance(one, Event) for one in parsed] == [True, False, True]


@pytest.mark.parametrize("media_type", ["text/plain", ""])
def test_without_a_type_of_its_own_a_bracket_makes_an_array(media_type: str) -> None:
    assert len(parse_batch(b" \r\n[%b,%b]" % (VIEW_BYTES, VIEW_BYTES), media_type)) == 2
    assert len(parse_batch(b"%b\n%b" % (VIEW_BYTES, VIEW_BYTES), media_type)) == 2


@pytest.mark.parametrize(
    "bad",
    [
        b"\xff",
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf" + VIEW_BYTES,
        b"[" * 100_000,
        b"[" + VIEW_BYTES + b"]",
        VIEW_BYTES * 2,
        VIEW_BYTES.replace(b'"/"', rb'"\ud800"'),
        VIEW_BYTES.replace(b'"/"', b"NaN"),
        VIEW_BYTES.replace(b'"/"', b"9" * 5000),
    ],
)
def test_a_bad_line_harms_no_other(bad: bytes) -> None:
    first, middle, last = lines(VIEW_BYTES, bad, VIEW_BYTES)
    assert isinstance(first, Event)
    assert fields(middle)
    assert isinstance(last, Event)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "1e100000"])
def test_a_number_that_is_no_double_harms_no_other_item(number: str) -> None:
    item = VIEW_BYTES.replace(b'"/"', b'"/","a":[%b]' % number.encode())
    parsed = parse_batch(b"[%b,%b]" % (item, VIEW_BYTES), JSON)
    assert fields(parsed[0]) == ["payload.a.0"]
    assert isinstance(parsed[1], Event)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"[]",
        b"{}",
        b"null",
        VIEW_BYTES,
        b"[" + VIEW_BYTES,
        b"[" + VIEW_BYTES + b",]",
        b"[" + VIEW_BYTES + b"]]",
        b"\xef\xbb\xbf[" + VIEW_BYTES + b"]",
        b"[" + VIEW_BYTES.replace(b'"/"', rb'"\udc00"') + b"]",
        b"[" + VIEW_BYTES.replace(b'"/"', b'"\xff"') + b"]",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_what_is_no_array_of_something_is_refused_as_a_whole(body: bytes) -> None:
    assert status_of(body, JSON) == 400


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\t\n"])
def test_no_line_is_no_batch(body: bytes) -> None:
    assert status_of(body, NDJSON) == 400
    assert status_of(body, "") == 400


def test_a_batch_has_at_most_10000_events() -> None:
    assert len(lines(*[VIEW_BYTES] * MAX_EVENTS)) == MAX_EVENTS
    assert len(array(*[VIEW] * MAX_EVENTS)) == MAX_EVENTS
    assert status_of(b"\n".join([VIEW_BYTES] * (MAX_EVENTS + 1)), NDJSON) == 413
    assert status_of(b"[%b]" % b",".join([VIEW_BYTES] * (MAX_EVENTS + 1)), JSON) == 413


def test_an_array_has_at_most_a_million_values() -> None:
    item = VIEW_BYTES.replace(b'"/"', b'"/","a":[%b]' % b",".join([b"0"] * 30_000))
    assert len(parse_batch(b"[%b]" % b",".join([item] * 33), JSON)) == 33
    assert status_of(b"[%b]" % b",".join([b"[]"] * (MAX_VALUES // 2)), JSON) == 413


def test_an_event_has_at_most_64_kib() -> None:
    at_limit = VIEW_BYTES.replace(
        b'"/"', b'"%b"' % (b"/" * (MAX_EVENT_BYTES - len(VIEW_BYTES) + 1))
    )
    assert len(at_limit) == MAX_EVENT_BYTES
    first, second = lines(at_limit, at_limit.replace(b"/", b"//", 1))
    assert isinstance(first, Event)
    assert fields(second) == ["body"]
    frame = len('{"url":""}')
    for length, fits in ((MAX_EVENT_BYTES - frame, True), (MAX_EVENT_BYTES - frame + 1, False)):
        (parsed,) = array(VIEW | {"payload": {"url": "/" * length}})
        assert isinstance(parsed, Event) == fits
        assert fits or fields(parsed) == ["payload"]


def test_of_many_errors_some_are_told_and_one_of_each_event() -> None:
    bad = VIEW | {f"unknown-{number}": 1 for number in range(30)}
    for parsed in (array(*[bad] * 3000), lines(*[json.dumps(bad).encode()] * 3000)):
        told = [len(fields(one)) for one in parsed]
        assert told == [20] * 50 + [1] * 2950


def test_what_is_kept_of_an_error_is_only_what_is_told() -> None:
    for parsed in (array({}, VIEW), lines(b"{}", VIEW_BYTES)):
        error = parsed[0]
        assert isinstance(error, InvalidEventError)
        # These would hold on to the whole event, and to all of its errors.
        assert (error.__traceback__, error.__context__) == (None, None)


def test_an_event_of_far_too_many_fields_harms_no_other() -> None:
    body = json.dumps({f"unknown-{number}": 1 for number in range(100_000)}).encode()
    parsed = parse_batch(b"[%b,%b]" % (body, VIEW_BYTES), JSON)
    assert fields(parsed[0])
    assert isinstance(parsed[1], Event)


def test_of_two_contents_under_one_id_the_second_is_refused() -> None:
    event_id = given_id()
    same = VIEW | {"event_id": event_id}
    other = same | {"payload": {"url": "/other"}}
    parsed = array(same, other, same, VIEW)
    assert [isinstance(one, Event) for one in parsed] == [True, False, True, True]
    assert fields(parsed[1]) == ["event_id"]
    assert parsed[0] == parsed[2]


@pytest.mark.parametrize("days", [-8, 1])
def test_an_id_outside_the_window_is_refused_with_our_time(days: int) -> None:
    assert LATE_WINDOW_MILLISECONDS == 7 * 24 * 3600 * 1000
    refused, kept = array(VIEW | {"event_id": given_id(days * 24 * 3600 * 1000)}, VIEW)
    assert fields(refused) == ["event_id"]
    assert isinstance(refused, InvalidEventError)
    assert refused.clock is not None
    assert isinstance(kept, Event)
