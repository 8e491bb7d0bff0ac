"""GET /events/export: what is in the file, and what becomes of one that can't be finished."""

import csv
import io
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from tests.http.stored_events import Choice, Stored, as_documents, choices, many_events, put, read
from tests.http.support import assert_problem, fields
from tests.http.test_reading import numbered
from tests.support.databases import Database, blocked_table
from tests.support.services import service_client

EXPORT = "/events/export"
COLUMNS = ["event_id", "timestamp", "site", "user_id", "event_type", "payload"]
FORMULAS = ("=", "+", "-", "@", "'", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

few = settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def lines_of(text: str) -> list[dict[str, Any]]:
    """Return the events of an NDJSON document, each line of which must end."""
    lines = text.split("\n")
    assert lines.pop() == ""
    return [read(json.loads(line)) for line in lines]


def rows_of(text: str) -> list[dict[str, Any]]:
    """Return the events of a CSV document, with what goes before formulas taken away."""
    header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert header == COLUMNS
    return [_event(dict(zip(header, row, strict=True))) for row in rows]


def _event(cells: dict[str, str]) -> dict[str, Any]:
    user_id = cells["user_id"]
    assert not user_id.startswith(tuple(set(FORMULAS) - {"'"}))
    return read(
        cells
        | {
            "site": int(cells["site"]),
            "user_id": user_id.removeprefix("'"),
            "payload": json.loads(cells["payload"]),
        }
    )


# What is in the file


@few
@given(events=many_events, choice=choices())
def test_an_export_is_what_plain_sql_chooses(
    service: httpx.Client, database: Database, events: list[Stored], choice: Choice
) -> None:
    database.execute("delete from events")
    put(database, events)
    expected = as_documents(choice.chosen(database))
    assert lines_of(service.get(f"{EXPORT}?{choice.query()}").text) == expected
    assert rows_of(service.get(f"{EXPORT}?{choice.query(format='csv')}").text) == expected


def test_a_line_is_the_event_as_it_is_read_by_its_id(service: httpx.Client) -> None:
    posted = service.post(
        "/events",
        json={"user_id": "one-line", "event_type": "click", "payload": {"text": "a\nb\u2028"}},
    ).json()
    line = service.get(f"{EXPORT}?user_id=one-line").text
    assert line == service.get(f"/events/{posted['event_id']}").text + "\n"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("ndjson", "application/x-ndjson"), ("csv", "text/csv; charset=utf-8; header=present")],
)
def test_head_names_the_file_and_reads_nothing(
    service: httpx.Client, shared_database_url: str, native: bool, name: str, media_type: str
) -> None:
    with blocked_table(shared_database_url, native=native):
        head = service.head(f"{EXPORT}?format={name}", timeout=3)
    get = service.get(f"{EXPORT}?format={name}")
    for answer in (head, get):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == media_type
        assert answer.headers["content-disposition"] == f'attachment; filename="events.{name}"'
        assert "content-length" not in answer.headers
    assert head.content == b""
    assert get.headers["transfer-encoding"] == "chunked"


def test_the_format_is_ndjson_unless_asked_for(service: httpx.Client) -> None:
    assert service.head(EXPORT).headers["content-type"] == "application/x-ndjson"


def test_an_export_of_nothing_is_an_empty_file(service: httpx.Client, no_events: None) -> None:
    assert service.get(EXPORT).content == b""
    assert service.get(f"{EXPORT}?format=csv").text == ",".join(COLUMNS) + "\n"


@pytest.mark.parametrize("begin", FORMULAS)
def test_what_a_spreadsheet_takes_for_a_formula_gets_an_apostrophe(
    service: httpx.Client, database: Database, no_events: None, begin: str
) -> None:
    users = [begin, f"{begin}1+1", f"a{begin}"]
    for user_id in users:
        put(database, numbered(1, user_id=user_id))
    text = service.get(f"{EXPORT}?format=csv").text
    cells = {row[3] for row in csv.reader(io.StringIO(text, newline=""))}
    assert cells == {"user_id", f"'{begin}", f"'{begin}1+1", f"a{begin}"}
    assert {one["user_id"] for one in lines_of(service.get(EXPORT).text)} == set(users)


def test_a_long_export_is_whole_and_in_order(
    service: httpx.Client, database: Database, no_events: None
) -> None:
    make_many(database, 20_000, "")
    documents = lines_of(service.get(EXPORT).text)
    assert documents == as_documents(Choice().chosen(database))
    assert documents == rows_of(service.get(f"{EXPORT}?format=csv").text)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("format=xlsx", {"format"}),
        ("format=", {"format"}),
        ("limit=1", {"limit"}),
        ("cursor=1", {"cursor"}),
        ("user_id=%00&event_type=View", {"user_id", "event_type"}),
        ("start_date=2025-05-29&end_date=2025-05-28", {"start_date"}),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_wrong_query_exports_nothing(
    service: httpx.Client, method: str, query: str, named: set[str]
) -> None:
    answer = service.request(method, f"{EXPORT}?{query}")
    assert answer.status_code == 400
    if method == "GET":
        assert assert_problem(answer, 400)["detail"] == "Nothing was read."
        assert fields(answer) == named


# One that waits, and one that can't be finished


def make_many(database: Database, count: int, filling: str) -> None:
    """Put events into the table, a second apart."""
    database.execute(
        """
        insert into events (timestamp, event_id, user_id, event_type, payload)
        select timestamptz '2025-05-28Z' + number * interval '1 second', gen_random_uuid(),
               'user-' || number %% 7, 'view', jsonb_build_object('url', '/', 'filling', %s::text)
        from generate_series(1, %s::int) as number
        """,
        [filling, count],
    )


@contextmanager
def exporting(database_url: str, **settings: float) -> Iterator[httpx.Client]:
    """Yield a client of a service with room for one export."""
    settings = {"export_connections": 1} | settings
    with service_client(database_url=database_url, **settings) as client:
        yield client


def answer_within(client: httpx.Client, status: int, seconds: float = 15) -> httpx.Response:
    """Ask for an export of one user until the answer has a status."""
    deadline = time.monotonic() + seconds
    while (answer := client.get(f"{EXPORT}?user_id=user-1")).status_code != status:
        assert time.monotonic() < deadline, answer.status_code
        time.sleep(0.05)
    return answer


def test_one_more_than_may_be_is_503(shared_database_url: str, native: bool) -> None:
    with (
        exporting(shared_database_url, export_deadline_seconds=3) as client,
        ThreadPoolExecutor(1) as other,
    ):
        with blocked_table(shared_database_url, native=native):
            waiting = other.submit(client.get, EXPORT)
            time.sleep(0.5)
            answer = client.get(EXPORT)
        problem = assert_problem(answer, 503)
        assert problem["type"] == "urn:tallymark:problem:exports-busy"
        assert int(answer.headers["retry-after"]) > 0
        assert waiting.result().status_code == 200
        assert client.get(EXPORT).status_code == 200


def test_one_that_does_not_begin_in_time_is_503(shared_database_url: str, native: bool) -> None:
    with exporting(shared_database_url, export_deadline_seconds=0.5) as client:
        with blocked_table(shared_database_url, native=native):
            answer = client.get(EXPORT)
        problem = assert_problem(answer, 503)
        assert problem["type"] == "urn:tallymark:problem:events-unavailable"
        answer_within(client, 200)


@pytest.fixture
def large(database: Database, no_events: None) -> None:
    """More events than all buffers between the database and a client hold."""
    make_many(database, 30_000, "x" * 2000)


@contextmanager
def stalled(client: httpx.Client) -> Iterator[socket.socket]:
    """Yield the socket of a request for an export, from which only the first bytes are taken."""
    address = (client.base_url.host, client.base_url.port or 80)
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(f"GET {EXPORT} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        assert connection.recv(20).startswith(b"HTTP/1.1 200 OK")
        yield connection


def rest_of(connection: socket.socket) -> bytes:
    """Return what is still received until the peer closes."""
    received = bytearray()
    while True:
        try:
            chunk = connection.recv(1 << 20)
        except ConnectionResetError:
            return bytes(received)
        if not chunk:
            return bytes(received)
        received += chunk


END = b"\r\n0\r\n\r\n"
"""The last chunk of a whole answer."""


@pytest.mark.usefixtures("large")
def test_one_whose_client_takes_all_ends(shared_database_url: str) -> None:
    with exporting(shared_database_url) as client, stalled(client) as connection:
        connection.settimeout(3)
        received = bytearray()
        while not received.endswith(END):
            received += connection.recv(1 << 20)
        assert received.count(b"filling") == 30_000


@pytest.mark.usefixtures("large")
def test_one_that_takes_too_long_is_cut_and_another_may_begin(shared_database_url: str) -> None:
    with (
        exporting(shared_database_url, export_deadline_seconds=1) as client,
        stalled(client) as connection,
    ):
        assert_problem(answer_within(client, 503, seconds=0.5), 503)
        answer_within(client, 200)
        assert not rest_of(connection).endswith(END)


@pytest.mark.usefixtures("large")
def test_one_whose_client_leaves_gives_its_place_up(
    shared_database_url: str, database: Database, native: bool
) -> None:
    with exporting(shared_database_url) as client:
        with stalled(client):
            assert_problem(answer_within(client, 503), 503)
        answer_within(client, 200)
        assert running_copies(database) == 0 or not native


def running_copies(database: Database) -> int:
    found = database.execute(
        "select count(*) from pg_stat_activity where datname = current_database() "
        "and state = 'active' and query ilike '%copy (%' and pid <> pg_backend_pid()"
    ).fetchone()
    assert found is not None
    return int(found[0])


MANY_SESSIONS = pytest.mark.native(reason="the embedded server has one session, which it takes")


@MANY_SESSIONS
@pytest.mark.usefixtures("large")
def test_one_whose_database_goes_is_cut(shared_database_url: str, database: Database) -> None:
    with exporting(shared_database_url) as client:
        with client.stream("GET", EXPORT) as answer:
            chunks = answer.iter_raw()
            assert next(chunks)
            database.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and query ilike '%copy (%' "
                "and pid <> pg_backend_pid()"
            )
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
                list(chunks)
        assert client.get(EXPORT).content.count(b"\n") == 30_000


@MANY_SESSIONS
@pytest.mark.usefixtures("large")
def test_counts_and_pages_are_answered_while_exports_stand_still(shared_database_url: str) -> None:
    with exporting(shared_database_url) as client, stalled(client):
        assert client.get("/analytics/event-counts").json() == {"total_events": 30_000}
        assert len(client.get("/events").json()["events"]) == 100
        assert_problem(client.get(EXPORT), 503)


@MANY_SESSIONS
@pytest.mark.usefixtures("large")
def test_an_export_is_one_snapshot(shared_database_url: str, database: Database) -> None:
    with exporting(shared_database_url) as client, stalled(client) as connection:
        database.execute("delete from events")
        received = bytearray()
        while not received.endswith(END):
            received += connection.recv(1 << 20)
        assert received.count(b"filling") == 30_000
        assert client.get(EXPORT).content == b""


@MANY_SESSIONS
@pytest.mark.parametrize("query", ["", "?user_id=user-1"])
def test_a_client_that_leaves_before_the_first_row_ends_the_statement(
    shared_database_url: str, database: Database, query: str
) -> None:
    with exporting(shared_database_url) as client, blocked_table(shared_database_url, native=True):
        with pytest.raises(httpx.ReadTimeout):
            client.get(EXPORT + query, timeout=1)
        deadline = time.monotonic() + 10
        while running_copies(database):
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.filterwarnings("default")
def test_without_a_database_it_is_503(shared_database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with exporting(f"postgresql://postgres@127.0.0.1:{port}/none") as client:
        problem = assert_problem(client.get(EXPORT), 503)
    assert problem["type"] == "urn:tallymark:problem:events-unavailable"
    assert str(port) not in json.dumps(problem)
