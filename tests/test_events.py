"""parse_event: what is an event, what is refused and why, and what of it is stored."""

import json
import time
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.events import MAX_LISTED_ERRORS, Event, InvalidEventError, new_event_id, parse_event
from tests.support.json_values import json_values, texts

quick = settings(deadline=None, max_examples=300)

VIEW = {"user_id": "u", "event_type": "view", "payload": {"url": "/"}}
CLICK = {"user_id": "u", "event_type": "click", "payload": {}}
LOCATION = {
    "user_id": "u",
    "event_type": "location",
    "payload": {"latitude": 1.5, "longitude": 2.5},
}


def parse(document: Any) -> Event:
    return parse_event(json.dumps(document).encode())


def view_with(member: str) -> bytes:
    return b'{"user_id":"u","event_type":"view","payload":{"url":"/",%s}}' % member.encode()


def errors_of(body: bytes) -> dict[str, str]:
    with pytest.raises(InvalidEventError) as caught:
        parse_event(body)
    return {error["field"]: error["message"] for error in caught.value.errors}


def fields_of(document: Any) -> set[str]:
    return set(errors_of(json.dumps(document).encode()))


@pytest.mark.parametrize(
    "document",
    [
        VIEW,
        VIEW | {"payload": {"url": "https://example.com/a?b=c#d", "title": "Títle"}},
        VIEW | {"payload": {"url": "/", "title": None}},
        CLICK,
        CLICK | {"payload": {"element_id": "a", "text": "", "xpath": "//*[@id='a']"}},
        LOCATION,
        LOCATION | {"payload": {"latitude": 90, "longitude": -180, "accuracy": 0}},
        LOCATION | {"payload": {"latitude": -90.0, "longitude": 180.0, "accuracy": 1e308}},
        VIEW | {"payload": {"url": "/", "campaign": {"source": ["a", 1, None, True]}}},
        VIEW | {"user_id": "  padded  "},
        VIEW | {"user_id": "日本語🙂"},
    ],
)
def test_a_valid_event_is_kept_as_it_is(document: Any) -> None:
    event = parse(document)
    assert event.user_id.decode() == document["user_id"]
    assert event.event_type == document["event_type"]
    assert json.loads(event.payload) == document["payload"]
    assert event.site_id == 1


def test_the_site_is_the_one_it_came_for() -> None:
    assert parse_event(json.dumps(VIEW).encode(), site_id=7).site_id == 7


def without(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != name}


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        (None, {"body"}),
        ([VIEW], {"body"}),
        ("view", {"body"}),
        (1, {"body"}),
        ({}, {"event_type"}),
        (without(VIEW, "user_id"), {"user_id"}),
        (without(VIEW, "event_type"), {"event_type"}),
        (without(VIEW, "payload"), {"payload"}),
        ({"event_type": "view"}, {"user_id", "payload"}),
        (VIEW | {"user_id": ""}, {"user_id"}),
        (VIEW | {"user_id": " \t\n\u3000"}, {"user_id"}),
        (VIEW | {"user_id": None}, {"user_id"}),
        (VIEW | {"user_id": 42}, {"user_id"}),
        (VIEW | {"user_id": ["u"]}, {"user_id"}),
        (VIEW | {"user_id": "a\0"}, {"user_id"}),
        (VIEW | {"event_type": ""}, {"event_type"}),
        (VIEW | {"event_type": "purchase"}, {"event_type"}),
        (VIEW | {"event_type": "View"}, {"event_type"}),
        (VIEW | {"event_type": "view "}, {"event_type"}),
        (VIEW | {"event_type": None}, {"event_type"}),
        (VIEW | {"event_type": 1}, {"event_type"}),
        (VIEW | {"event_type": ["view"]}, {"event_type"}),
        (VIEW | {"event_type": {"view": 1}}, {"event_type"}),
        (VIEW | {"payload": None}, {"payload"}),
        (VIEW | {"payload": []}, {"payload"}),
        (VIEW | {"payload": "{}"}, {"payload"}),
        (VIEW | {"payload": {}}, {"payload.url"}),
        (VIEW | {"payload": {"url": ""}}, {"payload.url"}),
        (VIEW | {"payload": {"url": None}}, {"payload.url"}),
        (VIEW | {"payload": {"url": 1, "title": 2}}, {"payload.url", "payload.title"}),
        (CLICK | {"payload": {"element_id": 1}}, {"payload.element_id"}),
        (CLICK | {"payload": {"text": []}}, {"payload.text"}),
        (CLICK | {"payload": {"xpath": {}}}, {"payload.xpath"}),
        (LOCATION | {"payload": {}}, {"payload.latitude", "payload.longitude"}),
        (LOCATION | {"payload": {"latitude": "1", "longitude": 1}}, {"payload.latitude"}),
        (LOCATION | {"payload": {"latitude": True, "longitude": 1}}, {"payload.latitude"}),
        (LOCATION | {"payload": {"latitude": None, "longitude": 1}}, {"payload.latitude"}),
        (LOCATION | {"payload": {"latitude": 1, "longitude": 180.1}}, {"payload.longitude"}),
        (LOCATION | {"payload": {"latitude": 10**400, "longitude": 1}}, {"payload.latitude"}),
        (
            LOCATION | {"payload": {"latitude": 1, "longitude": 1, "accuracy": -0.1}},
            {"payload.accuracy"},
        ),
        (VIEW | {"event_id": "0"}, {"event_id"}),
        (VIEW | {"timestamp": "2025-05-01T00:00:00Z"}, {"timestamp"}),
        (VIEW | {"site_id": 2}, {"site_id"}),
    ],
)
def test_what_is_wrong_is_named(document: Any, fields: set[str]) -> None:
    assert fields_of(document) == fields


def test_the_allowed_types_are_told() -> None:
    message = errors_of(json.dumps(VIEW | {"event_type": "purchase"}).encode())["event_type"]
    assert message == "Must be one of view, click, location"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{'user_id': 1}",
        json.dumps(VIEW).encode() + b"x",
        json.dumps(VIEW).encode() * 2,
        b"\xef\xbb\xbf" + json.dumps(VIEW).encode(),
        json.dumps(VIEW).encode("utf-16"),
        json.dumps(VIEW).encode("utf-16-le"),
        b"/**/" + json.dumps(VIEW).encode(),
        view_with('"a":01'),
        view_with('"a":+1'),
        view_with('"a":.5'),
        view_with('"a":1.'),
        view_with('"a":0x10'),
        view_with('"a":1,'),
        view_with('"a":undefined'),
        view_with('"a":"\x01"'),
        view_with('"a":"\\x41"'),
        view_with(r'"a":"\ud800"'),
        view_with(r'"a":"\udc00"'),
        view_with(r'"a":"\udc00\ud800"'),
        view_with(r'"\ud800":1'),
        view_with('"a":"@"').replace(b"@", b"\xff"),
        view_with('"a":"@"').replace(b"@", b"\xed\xa0\x80"),
        view_with('"a":"@"').replace(b"@", b"\xc0\x80"),
        view_with('"a":"@"').replace(b"@", b"\xf4\x90\x80\x80"),
        b"[" * 65_000,
        view_with('"a":' + "[" * 200 + "]" * 200),
        view_with('"a":' + "[" * 30_000 + "]" * 30_000),
        view_with('"a":' + '{"a":' * 10_000 + "1" + "}" * 10_000),
        view_with('"a":1' + "0" * 4300),
        view_with('"a":-1' + "0" * 60_000),
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    (message,) = errors_of(body).values()
    assert message.startswith("Invalid JSON: ")


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e100000", "9" * 400 + ".0"]
)
@pytest.mark.parametrize(
    ("member", "field"),
    [
        ('"a":%s', "payload.a"),
        ('"a":[0,%s]', "payload.a.1"),
        ('"a":{"b":[{"c":%s}]}', "payload.a.b.0.c"),
    ],
)
def test_a_number_that_is_no_double_is_refused(number: str, member: str, field: str) -> None:
    assert set(errors_of(view_with(member % number))) == {field}


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e400"])
def test_a_coordinate_that_is_no_double_is_refused(number: str) -> None:
    body = json.dumps(LOCATION).replace("2.5", number).encode()
    assert set(errors_of(body)) == {"payload.longitude"}


@pytest.mark.parametrize("digits", [1, 20, 400, 4299])
def test_large_integers_are_kept_exactly(digits: int) -> None:
    event = parse_event(view_with(f'"a":{"9" * digits}'))
    assert json.loads(event.payload)["a"] == int("9" * digits)


@pytest.mark.parametrize(
    ("member", "field"),
    [
        (r'"a":"\u0000"', "payload.a"),
        (r'"a":["x\u0000y"]', "payload.a.0"),
        (r'"a":[{"b\u0000":1}]', "payload.a.0"),
        (r'"a\u0000":1', "payload"),
        (r'"title":"\u0000"', "payload.title"),
    ],
)
def test_a_nul_character_is_refused_anywhere(member: str, field: str) -> None:
    assert set(errors_of(view_with(member))) == {field}


@pytest.mark.parametrize("text", [r"\\u0000", "NaN", "Infinity", r"\\\\u0000", r"-Infinity\\"])
def test_text_that_only_looks_unstorable_is_kept(text: str) -> None:
    event = parse_event(view_with(f'"{text}":"{text}"'))
    assert json.loads(event.payload)[json.loads(f'"{text}"')] == json.loads(f'"{text}"')


@pytest.mark.parametrize("depth", [1, 100, 190])
@pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"a":', "}")])
def test_nesting_up_to_190_levels_is_kept(depth: int, left: str, right: str) -> None:
    nested = left * depth + "1" + right * depth
    assert json.loads(parse_event(view_with(f'"a":{nested}')).payload)["a"] == json.loads(nested)


def test_of_equal_keys_the_last_counts() -> None:
    body = (
        b'{"user_id":"first","user_id":"last","event_type":"click","event_type":"view",'
        b'"payload":{},"payload":{"url":"/1","url":"/2","a":1,"a":{"b":1,"b":2}}}'
    )
    event = parse_event(body)
    assert (event.user_id, event.event_type) == (b"last", "view")
    assert json.loads(event.payload) == {"url": "/2", "a": {"b": 2}}


@pytest.mark.parametrize(
    "body",
    [
        view_with(f'"{"k" * 30_000}":[{",".join([chr(34) + "x" + chr(34)] * 8000)},"\\u0000"]'),
        view_with(f'"{"k" * 30_000}":[{",".join([chr(34) + chr(92) + "u0000" + chr(34)] * 3800)}]'),
        view_with(f'"a":[{",".join(["NaN"] * 16_000)}]'),
        b'{"event_type":"view",' + b",".join(b'"%d":1' % n for n in range(8000)) + b"}",
        b'{"event_type":"view","' + b"k" * 65_000 + b'":1}',
    ],
    ids=["long key", "long key, many errors", "many errors", "many fields", "long field"],
)
def test_what_is_wrong_is_told_in_a_few_kilobytes(body: bytes) -> None:
    """An answer and a log line are made of it: they must not be a thousand times the body."""
    with pytest.raises(InvalidEventError) as caught:
        parse_event(body)
    assert 1 <= len(json.dumps(caught.value.errors)) < 10_000


@pytest.mark.parametrize(("unknown", "told"), [(1, 1), (20, 20), (50, 20), (51, 1), (5000, 1)])
def test_so_many_unknown_fields_are_told(unknown: int, told: int) -> None:
    errors = errors_of(json.dumps(VIEW | {str(n): 1 for n in range(unknown)}).encode())
    assert len(errors) == told
    assert ("body" in errors) == (unknown > MAX_LISTED_ERRORS)


def test_an_id_is_a_uuid7_of_the_events_millisecond() -> None:
    before = time.time_ns() // 1_000_000
    event = parse(VIEW)
    after = time.time_ns() // 1_000_000
    event_id = UUID(bytes=event.event_id)
    assert (event_id.version, event_id.variant) == (7, "specified in RFC 4122")
    assert before <= event_id.int >> 80 <= after
    assert event.timestamp == (event_id.int >> 80) * 1000


def test_ids_of_one_millisecond_differ() -> None:
    assert len({new_event_id(1_750_000_000_000) for _ in range(20_000)}) == 20_000


@quick
@given(milliseconds=st.integers(0, 2**48 - 1))
def test_an_id_holds_its_millisecond(milliseconds: int) -> None:
    assert UUID(bytes=new_event_id(milliseconds)).int >> 80 == milliseconds


@quick
@given(more=st.dictionaries(texts, json_values, max_size=5), ascii_only=st.booleans())
@example(more={"a": [0.1, -0.0, 5e-324, 1.7976931348623157e308, 1e22, 2**53 + 1]}, ascii_only=True)
def test_any_payload_is_kept_equal(more: dict[str, Any], ascii_only: bool) -> None:
    document = VIEW | {"payload": {**more, "url": "/", "title": "t"}}
    event = parse_event(json.dumps(document, ensure_ascii=ascii_only).encode())
    assert json.loads(event.payload) == document["payload"]


unstorable = st.just("\0") | st.sampled_from([float("nan"), float("inf"), float("-inf")])


@quick
@given(bad=unstorable, around=st.lists(st.sampled_from("ld"), max_size=6), beside=json_values)
def test_one_unstorable_value_is_found_wherever_it_is(
    bad: Any, around: list[str], beside: Any
) -> None:
    for kind in around:
        bad = [beside, bad] if kind == "l" else {"beside": beside, "k": bad}
    with pytest.raises(InvalidEventError) as caught:
        parse(VIEW | {"payload": {"url": "/", "a": bad}})
    (error,) = caught.value.errors
    steps = ["1" if kind == "l" else "k" for kind in reversed(around)]
    assert error["field"] == ".".join(["payload", "a", *steps])


pairs = st.lists(st.tuples(st.sampled_from(["a", "b", "url"]), texts), min_size=1, max_size=8)


@quick
@given(pairs=pairs)
def test_equal_keys_are_read_as_a_browser_reads_them(pairs: list[tuple[str, str]]) -> None:
    members = ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in pairs)
    body = view_with(f'{members},"url":"/last"')
    assert json.loads(parse_event(body).payload) == dict(pairs) | {"url": "/last"}


@quick
@given(body=st.binary(max_size=200))
def test_any_bytes_are_an_event_or_refused(body: bytes) -> None:
    with pytest.raises(InvalidEventError) as caught:
        parse_event(body)
    assert caught.value.errors


@quick
@given(cut=st.integers(0, 200), noise=st.binary(min_size=1, max_size=3))
def test_a_damaged_event_is_stored_as_json_or_refused(cut: int, noise: bytes) -> None:
    whole = json.dumps(VIEW | {"payload": {"url": "/", "a": [1.5, "é", {"b": None}]}}).encode()
    body = whole[:cut] + noise + whole[cut + len(noise) :]
    try:
        event = parse_event(body)
    except InvalidEventError:
        return
    assert json.loads(event.payload) == json.loads(body)["payload"]


@quick
@given(user_id=st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
@example(user_id="x" * 256)
@example(user_id="x" * 257)
@example(user_id="é" * 128)
@example(user_id="é" * 128 + "x")
@example(user_id="🙂" * 64)
@example(user_id="🙂" * 64 + "x")
def test_a_user_id_has_1_to_256_bytes_of_utf8(user_id: str) -> None:
    storable = user_id.strip() and "\0" not in user_id and len(user_id.encode()) <= 256
    if storable:
        assert parse(VIEW | {"user_id": user_id}).user_id.decode() == user_id
    else:
        assert fields_of(VIEW | {"user_id": user_id}) == {"user_id"}


degrees = st.floats(-200, 200) | st.integers(-200, 200)


@quick
@given(latitude=degrees, longitude=degrees, accuracy=st.none() | st.floats(-1, 1e6))
def test_a_location_lies_on_the_globe(
    latitude: float, longitude: float, accuracy: float | None
) -> None:
    payload = {"latitude": latitude, "longitude": longitude, "accuracy": accuracy}
    wrong = {
        name
        for name, bad in [
            ("payload.latitude", not -90 <= latitude <= 90),
            ("payload.longitude", not -180 <= longitude <= 180),
            ("payload.accuracy", accuracy is not None and accuracy < 0),
        ]
        if bad
    }
    if wrong:
        assert fields_of(LOCATION | {"payload": payload}) == wrong
    else:
        assert json.loads(parse(LOCATION | {"payload": payload}).payload) == payload
