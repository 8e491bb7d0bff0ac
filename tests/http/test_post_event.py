"""POST /events: what is accepted is stored as sent, and what is refused is not stored."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.http.support import (
    as_doubles,
    assert_problem,
    event,
    event_bytes,
    events_in,
    exchange,
    fields,
    status_of,
    stored,
)
from tests.support.databases import Database
from tests.support.json_values import json_values, texts

MAX_BYTES = 64 * 1024

# The service and its database are the module's: examples share them on purpose.
shared = settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def post(service: httpx.Client, body: bytes, **headers: str) -> httpx.Response:
    return service.post("/events", content=body, headers=headers)


# What is accepted


@pytest.mark.parametrize(
    "document",
    [
        event(url="https://example.com/?q=1", title="Home"),
        {"user_id": "u", "event_type": "click", "payload": {}},
        {"user_id": "u", "event_type": "click", "payload": {"element_id": "a", "xpath": "//a"}},
        {"user_id": "u", "event_type": "location", "payload": {"latitude": 90, "longitude": -180}},
        event(extra={"deep": [1, 2.5, None, {"é": "🙂"}]}),
    ],
)
def test_an_event_is_stored_as_sent(
    service: httpx.Client, database: Database, document: dict[str, Any]
) -> None:
    answer = service.post("/events", json=document)
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/json"
    kept = stored(database, answer.json()["event_id"])
    assert kept == (document["user_id"], document["event_type"], document["payload"])


def test_the_answer_holds_the_id_and_its_millisecond(
    service: httpx.Client, database: Database
) -> None:
    answer = service.post("/events", json=event()).json()
    assert set(answer) == {"event_id", "timestamp"}
    event_id = UUID(answer["event_id"])
    assert event_id.version == 7
    moment = datetime.fromtimestamp((event_id.int >> 80) / 1000, UTC)
    assert answer["timestamp"] == moment.isoformat(timespec="milliseconds")[:-6] + "Z"
    row = database.execute("select timestamp from events where event_id = %s", [event_id])
    assert row.fetchone() == (datetime.fromisoformat(answer["timestamp"]),)


def test_an_accepted_event_is_counted_at_once(service: httpx.Client, no_events: None) -> None:
    for expected in range(1, 6):
        service.post("/events", json=event()).raise_for_status()
        assert service.get("/analytics/event-counts").json() == {"total_events": expected}


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": "APPLICATION/JSON;charset=UTF-8"},
        {"Content-Type": "application/json ; x=y"},
        {"Content-Type": "text/plain;charset=UTF-8"},
        {"Content-Type": ""},
        {},
        {"Content-Encoding": "identity"},
        {"Accept": "text/html"},
        {"Expect": "100-continue"},
    ],
)
def test_json_is_read_under_the_types_that_browsers_send(
    service: httpx.Client, headers: dict[str, str]
) -> None:
    assert post(service, event_bytes(), **headers).status_code == 202


@pytest.mark.parametrize("space", [b" ", b"\n", b"\r\n\t "])
def test_white_space_around_the_event_is_allowed(service: httpx.Client, space: bytes) -> None:
    assert post(service, space + event_bytes() + space).status_code == 202


def test_an_empty_query_is_no_query(service: httpx.Client) -> None:
    assert service.post("/events?", json=event()).status_code == 202


INJECTIONS = [
    "'; drop table events; --",
    "' or '1'='1",
    "\\'; select pg_sleep(10); --",
    "$1",
    "%s",
    "%(user_id)s",
    "{0.__class__}",
    "${jndi:ldap://127.0.0.1/a}",
    "<script>alert(1)</script>",
    "\\N",
    "\\.",
    "NULL",
    "\t\r\n\x0b\x1b[31m\x7f",
    "\u202e\u2028\ufeff\uffff",
    "a" + "\u0301" * 60,
    "../../../etc/passwd",
    "=cmd|' /C calc'!A0",
    '{"$ne": null}',
    "__proto__",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_injected_text_is_only_text(service: httpx.Client, database: Database, text: str) -> None:
    payload = {"url": text, "title": text, text: {text: [text]}}
    document = {"user_id": text, "event_type": "view", "payload": payload}
    answer = service.post("/events", json=document)
    assert stored(database, answer.json()["event_id"]) == (text, "view", payload)


@pytest.mark.parametrize("text", INJECTIONS)
def test_an_injected_type_is_refused(service: httpx.Client, text: str) -> None:
    answer = service.post("/events", json=event() | {"event_type": text})
    assert_problem(answer, 400)
    assert fields(answer) == {"event_type"}


@pytest.mark.parametrize(
    ("user_id", "status"),
    [
        ("x" * 256, 202),
        ("x" * 257, 400),
        ("é" * 128, 202),
        ("é" * 128 + "x", 400),
        ("€" * 85 + "x", 202),
        ("€" * 86, 400),
        ("🙂" * 64, 202),
        ("🙂" * 64 + "x", 400),
        (" ", 400),
        ("\u3000\u2003", 400),
    ],
)
def test_a_user_id_has_1_to_256_bytes(service: httpx.Client, user_id: str, status: int) -> None:
    answer = service.post("/events", json=event(user_id))
    assert answer.status_code == status
    if status == 400:
        assert fields(answer) == {"user_id"}


# What is refused


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"null", "body"),
        (b"[]", "body"),
        (b"[" + event_bytes() + b"]", "body"),
        (b"\xef\xbb\xbf" + event_bytes(), "body"),
        (event_bytes().decode().encode("utf-16"), "body"),
        (b"{}", "event_type"),
        (event_bytes().replace(b"view", b"purchase"), "event_type"),
        (event_bytes().replace(b'"user-1"', b"42"), "user_id"),
        (event_bytes().replace(b'"url":"/"', b""), "payload.url"),
        (event_bytes(b'"title":[]'), "payload.title"),
        (event_bytes()[:-1] + b',"event_id":"0"}', "event_id"),
        (event_bytes(b'"a":NaN'), "payload.a"),
        (event_bytes(b'"a":[1,-Infinity]'), "payload.a.1"),
        (event_bytes(b'"a":1e400'), "payload.a"),
        (event_bytes(b'"a":1e100000'), "payload.a"),
        (event_bytes(b'"a":' + b"9" * 60_000), "body"),
        (event_bytes(b'"a":' + b"9" * 60_000 + b".0"), "body"),
        (event_bytes(rb'"a":"\u0000"'), "payload.a"),
        (event_bytes(rb'"\u0000":1'), "payload"),
        (event_bytes().replace(b"user-1", rb"\u0000"), "user_id"),
        (event_bytes(b'"a":"\x00"'), "body"),
        (event_bytes(rb'"a":"\ud800"'), "body"),
        (event_bytes(rb'"a":"\udfff"'), "body"),
        (event_bytes(b'"a":"\xff"'), "body"),
        (event_bytes(b'"a":"\xed\xa0\x80"'), "body"),
        (event_bytes(b'"a":' + b"[" * 200 + b"]" * 200), "body"),
        (event_bytes(b'"a":' + b"[" * 32_000 + b"]" * 32_000), "body"),
        (b"[" * MAX_BYTES, "body"),
        (b'{"a":' * 13_000, "body"),
    ],
)
def test_what_is_no_event_is_refused_and_not_stored(
    service: httpx.Client, database: Database, body: bytes, named: str
) -> None:
    before = events_in(database)
    answer = post(service, body)
    problem = assert_problem(answer, 400)
    assert problem["type"] == "urn:tallymark:problem:invalid-event"
    assert fields(answer) == {named}
    assert events_in(database) == before


def test_nesting_of_100_000_is_too_large_a_body(service: httpx.Client) -> None:
    assert_problem(post(service, event_bytes(b'"a":' + b"[" * 100_000 + b"]" * 100_000)), 413)


@pytest.mark.parametrize("depth", [100, 190])
def test_nesting_of_100_is_stored(service: httpx.Client, database: Database, depth: int) -> None:
    nested = b"[" * depth + b"]" * depth
    answer = post(service, event_bytes(b'"a":' + nested))
    assert stored(database, answer.json()["event_id"])[2]["a"] == json.loads(nested)


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("0", 0),
        ("-0.0", 0.0),
        ("1E5", 100_000),
        ("1.0", 1),
        ("0.1", 0.1),
        ("5e-324", 5e-324),
        ("1e-400", 0),
        ("1.7976931348623157e308", 1.7976931348623157e308),
        ("9007199254740993", 9007199254740993),
        ("1" + "0" * 400, 10**400),
        ("-" + "9" * 4299, 1 - 10**4299),
        ("0.1000000000000000055511151231257827", 0.1),
    ],
)
def test_numbers_are_integers_or_doubles(
    service: httpx.Client, database: Database, number: str, value: float
) -> None:
    answer = post(service, event_bytes(b'"a":' + number.encode()))
    assert answer.status_code == 202
    kept = stored(database, answer.json()["event_id"])[2]["a"]
    assert kept == value if isinstance(value, int) else float(kept) == value


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/xml"},
        {"Content-Type": "application/json5"},
        {"Content-Type": "application/jsonx, application/json"},
        {"Content-Type": "text/html"},
        {"Content-Type": "json"},
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "br"},
        {"Content-Encoding": "identity, gzip"},
    ],
)
def test_another_content_type_or_coding_is_415(
    service: httpx.Client, headers: dict[str, str]
) -> None:
    answer = post(service, event_bytes(), **headers)
    assert_problem(answer, 415)
    expected = "accept-encoding" if "Content-Encoding" in headers else "accept-post"
    assert expected in answer.headers


def test_query_parameters_are_refused_by_name(service: httpx.Client) -> None:
    answer = service.post("/events?site=2&x", json=event())
    assert_problem(answer, 400)
    assert fields(answer) == {"site", "x"}


# The size of a body


def body_of(size: int) -> bytes:
    return event_bytes(b'"a":"' + b"x" * (size - len(event_bytes(b'"a":""'))) + b'"')


def in_chunks(body: bytes) -> Iterator[bytes]:
    yield body[:1000]
    yield body[1000:]


def test_a_body_of_64_kib_is_accepted(service: httpx.Client) -> None:
    assert len(body_of(MAX_BYTES)) == MAX_BYTES
    assert post(service, body_of(MAX_BYTES)).status_code == 202
    answer = service.post("/events", content=in_chunks(body_of(MAX_BYTES)))
    assert answer.status_code == 202


def test_a_body_of_one_byte_more_is_413(service: httpx.Client) -> None:
    assert_problem(post(service, body_of(MAX_BYTES + 1)), 413)
    assert_problem(service.post("/events", content=in_chunks(body_of(MAX_BYTES + 1))), 413)


REQUEST = b"POST /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
HEALTH = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def with_length(length: int | str, body: bytes) -> bytes:
    return REQUEST + f"Content-Length: {length}\r\n\r\n".encode() + body


def test_a_length_over_the_limit_is_refused_before_the_body(service: httpx.Client) -> None:
    answer = exchange(service.base_url, with_length(10**12, b""), until=b"}")
    assert status_of(answer) == 413


def test_a_body_over_the_limit_is_not_asked_for(service: httpx.Client) -> None:
    request = REQUEST + b"Expect: 100-continue\r\nContent-Length: 70000\r\n\r\n"
    answer = exchange(service.base_url, request, until=b"}")
    assert b"100 Continue" not in answer
    assert status_of(answer) == 413


def test_an_endless_body_is_refused_at_the_limit(service: httpx.Client) -> None:
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    request = REQUEST + b"Transfer-Encoding: chunked\r\n\r\n"
    answer = exchange(service.base_url, request, *[chunk] * 5, until=b"}")
    assert status_of(answer) == 413


@pytest.mark.parametrize(
    "length",
    ["-1", "+57", "1_0", "0x39", "5 7", "x", "1.0", "57, 58", "9" * 30, "9" * 5000, "-0"],
)
def test_a_length_that_is_none_is_400(service: httpx.Client, length: str) -> None:
    assert status_of(exchange(service.base_url, with_length(length, event_bytes()))) == 400


@pytest.mark.parametrize("zeros", [1, 4299, 4300, 5000, 20_000])
def test_a_length_may_have_leading_zeros(service: httpx.Client, zeros: int) -> None:
    length = "0" * zeros + str(len(event_bytes()))
    status = status_of(exchange(service.base_url, with_length(length, event_bytes())))
    assert status in (202, 400)


@pytest.mark.parametrize("length", [0, 10, len(event_bytes()) - 1])
def test_a_length_that_is_too_short_stores_nothing(
    service: httpx.Client, database: Database, length: int
) -> None:
    before = events_in(database)
    answer = exchange(service.base_url, with_length(length, event_bytes()))
    assert status_of(answer) == 400
    assert events_in(database) == before


def test_a_body_that_ends_early_stores_nothing(service: httpx.Client, database: Database) -> None:
    before = events_in(database)
    with socket.create_connection((service.base_url.host, service.base_url.port or 80)) as sender:
        sender.sendall(with_length(1000, event_bytes()))
        sender.shutdown(socket.SHUT_WR)
        assert status_of(sender.recv(65536)) in (0, 400)
    assert service.get("/health/live").is_success
    assert events_in(database) == before


@pytest.mark.parametrize(
    "request_",
    [
        REQUEST + b"Content-Length: 57\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        REQUEST + b"Content-Length: 57\r\nContent-Length: 58\r\n\r\n" + event_bytes(),
        REQUEST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        REQUEST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        REQUEST + b"Transfer-Encoding: gzip\r\n\r\n",
    ],
)
def test_framing_that_is_ambiguous_is_400(service: httpx.Client, request_: bytes) -> None:
    assert status_of(exchange(service.base_url, request_)) == 400


@pytest.mark.parametrize("apart", [False, True])
def test_the_body_of_a_request_to_upgrade_is_no_request(
    service: httpx.Client, database: Database, apart: bool
) -> None:
    smuggled = event_bytes(b'"smuggled":true')
    inner = b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
    body = inner + smuggled
    head = (
        b"POST /events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    answer = exchange(service.base_url, *([head, body] if apart else [head + body]))
    assert status_of(answer) == 400
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer.lower()
    query = "select count(*) from events where payload ? 'smuggled'"
    assert database.execute(query).fetchone() == (0,)


def test_what_follows_a_refused_body_is_a_request_of_its_own(service: httpx.Client) -> None:
    body = b"x" * 70_000
    request = b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n"
    answer = exchange(service.base_url, request, body, HEALTH)
    assert answer.count(b"HTTP/1.1 ") == 2
    assert answer.endswith(b'{"status":"live"}')


def test_a_sender_of_far_too_much_is_cut_off(service: httpx.Client) -> None:
    head = b"POST /events HTTP/1.1\r\nHost: x\r\n"
    announced = exchange(service.base_url, head + b"Content-Length: 50000000\r\n\r\n", b"x" * 1000)
    assert status_of(announced) == 413
    assert b"connection: close" in announced.lower()
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    endless = exchange(service.base_url, head + b"Transfer-Encoding: chunked\r\n\r\n", chunk * 20)
    assert status_of(endless) == 413
    assert b"connection: close" in endless.lower()


CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n10000\r\n" + b"x" * 0x10000 + b"\r\n"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("POST /nowhere", 404),
        ("POST /health/live", 405),
        ("POST /events?x=1", 400),
        ("POST /events/batch?x=1", 400),
        ("POST /events", 415),
        ("OPTIONS /events", 405),
        ("GET /health/live", 200),
    ],
)
def test_a_body_that_is_not_asked_for_is_not_read_to_its_end(
    service: httpx.Client, line: str, status: int
) -> None:
    head = f"{line} HTTP/1.1\r\nHost: x\r\n".encode()
    if status == 415:
        head += b"Content-Type: text/html\r\n"
    for body in (CHUNKED, b"Content-Length: 2000000\r\n\r\n" + b"x" * 1000):
        answer = exchange(service.base_url, head + body)
        assert status_of(answer) == status
        assert answer.lower().count(b"connection: close") == 1


@pytest.mark.parametrize("path", ["/nowhere", "/health/live", "/events?x=1"])
def test_what_follows_a_body_that_is_not_asked_for_is_a_request_of_its_own(
    service: httpx.Client, path: str
) -> None:
    request = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" % path.encode()
    answer = exchange(service.base_url, request, b"x" * 1_000_000, HEALTH)
    assert answer.count(b"HTTP/1.1 ") == 2
    assert answer.endswith(b'{"status":"live"}')


def test_a_refused_body_that_is_read_closes_no_connection(service: httpx.Client) -> None:
    request = b"POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = exchange(service.base_url, request, b"2\r\n{}\r\n0\r\n\r\n", HEALTH)
    assert status_of(answer) == 400
    assert answer.endswith(b'{"status":"live"}')


# Neighbours


def test_neighbours_of_refused_events_are_stored(
    service: httpx.Client, database: Database, no_events: None
) -> None:
    bad = [
        event_bytes(rb'"a":"\u0000"'),
        event_bytes(b'"a":NaN'),
        event_bytes(rb'"a":"\ud800"'),
        event_bytes(b'"a":' + b"[" * 1000),
        b"\xff",
    ]
    good = [json.dumps(event(f"neighbour-{number}")).encode() for number in range(100)]
    bodies = [body for number in range(100) for body in (bad[number % 5], good[number])]
    with ThreadPoolExecutor(16) as pool:
        statuses = [answer.status_code for answer in pool.map(lambda b: post(service, b), bodies)]
    assert statuses == [400, 202] * 100
    rows = database.execute("select distinct user_id from events").fetchall()
    assert {str(user_id) for (user_id,) in rows} == {f"neighbour-{n}" for n in range(100)}


def test_the_hardest_storable_values_share_a_flush(
    service: httpx.Client, database: Database
) -> None:
    members = [
        b'"a":' + b"[" * 190 + b"]" * 190,
        b'"a":' + b"9" * 4299,
        b'"a":1.7976931348623157e308',
        b'"a":5e-324',
        '"a":"\uffff\U0010ffff\x7f"'.encode(),
        b'"a":"' + b"x" * 65_000 + b'"',
        rb'"a":"\\u0000 NaN"',
        b'"' + b"k" * 65_000 + b'":1',
        b'"a":[' + b"0," * 32_000 + b"0]",
    ] * 3
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda member: post(service, event_bytes(member)), members))
    for member, answer in zip(members, answers, strict=True):
        assert answer.status_code == 202
        sent = json.loads(event_bytes(member))["payload"]
        kept = stored(database, answer.json()["event_id"])[2]
        assert as_doubles(kept) == as_doubles(sent)


# Any document


any_text = st.text(max_size=12)
any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | any_text
    | st.sampled_from(["view", "click", "location", "\0", "\ud800", 10**400, 1e22]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=10,
)
names = st.sampled_from(["url", "title", "text", "latitude", "longitude", "accuracy", "other"])
near_events = st.fixed_dictionaries(
    {
        "user_id": st.just("u") | any_json,
        "event_type": st.sampled_from(["view", "click", "location"]) | any_json,
        "payload": st.dictionaries(names | any_text, any_text | any_json, max_size=5) | any_json,
    },
    optional={"event_id": any_json, "extra": any_json},
)


@shared
@given(document=near_events | any_json, ascii_only=st.booleans())
@example(document=event(a=[-0.0, 5e-324, 1e308, 10**400]), ascii_only=True)
@example(document=event(**{"\ufeff": "\u2028"}), ascii_only=False)
def test_any_json_is_refused_or_stored_equal(
    service: httpx.Client, database: Database, document: Any, ascii_only: bool
) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only)
    answer = post(service, text.encode(errors="surrogatepass"))
    if answer.status_code != 202:
        assert_problem(answer, 400)
        return
    user_id, event_type, payload = stored(database, answer.json()["event_id"])
    assert (user_id, event_type) == (document["user_id"], document["event_type"])
    assert as_doubles(payload) == as_doubles(json.loads(text)["payload"])


@shared
@given(more=st.dictionaries(texts, json_values, max_size=5), user_id=texts)
def test_any_storable_payload_is_stored_equal(
    service: httpx.Client, database: Database, more: dict[str, Any], user_id: str
) -> None:
    document = event(f"u{user_id}") | {"payload": {**more, "url": "/", "title": None}}
    answer = service.post("/events", content=json.dumps(document))
    assert answer.status_code == 202
    kept = stored(database, answer.json()["event_id"])
    assert kept[0] == document["user_id"]
    assert as_doubles(kept[2]) == as_doubles(document["payload"])


@shared
@given(pairs=st.lists(st.tuples(st.sampled_from("abc"), json_values), min_size=1, max_size=6))
def test_of_equal_keys_the_last_is_stored(
    service: httpx.Client, database: Database, pairs: list[tuple[str, Any]]
) -> None:
    members = ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in pairs)
    answer = post(service, event_bytes(members.encode()))
    payload = stored(database, answer.json()["event_id"])[2]
    assert as_doubles(payload) == as_doubles(dict(pairs) | {"url": "/"})


@shared
@given(body=st.binary(max_size=100))
def test_any_bytes_are_refused(service: httpx.Client, body: bytes) -> None:
    assert_problem(post(service, body), 400)
