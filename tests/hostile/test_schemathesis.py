"""Schemathesis over all of /openapi.json, by all of its checks, against a process of its own.

What it sends is drawn from a seed. What is answered 202 must be stored as it was sent.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import positive_data_acceptance

from service.analytics.parameters import ZONES
from service.documentation import openapi
from service.reading.positions import FIRST, LAST, Position
from tests.http.support import as_doubles, event, events_in, stored
from tests.support.databases import Database
from tests.support.services import ServiceProcess

# What it has to say of its own ways is no failure of these tests.
pytestmark = pytest.mark.filterwarnings("default")

CASES = 2000
"""At least so many are sent, all operations together."""
EXAMPLES = 150
"""Of each operation, beside those that it makes of the examples and the limits of the schemas."""

schemathesis.openapi.format("time-zone", st.sampled_from(sorted(ZONES)))
schemathesis.openapi.format("date", st.dates().map(str))
schemathesis.openapi.format(
    "date-time",
    st.builds(
        lambda moment, zone: f"{moment.isoformat()}{zone}",
        st.datetimes(),
        st.sampled_from(["Z", "+02:00", "-11:30"]),
    ),
)
schemathesis.openapi.format(
    "cursor", st.builds(Position, st.integers(FIRST, LAST - 1), st.uuids()).map(Position.cursor)
)
schemathesis.openapi.format(
    "ndjson",
    st.lists(st.text(max_size=20).map(lambda text: json.dumps(event(title=text))), min_size=1).map(
        "\n".join
    ),
)


@schemathesis.serializer("application/x-ndjson")
def send_lines(_: Any, value: Any) -> bytes:
    """Send text as it is, and anything else as a line."""
    return (value if isinstance(value, str) else json.dumps(value)).encode()


BEYOND_SCHEMAS = re.compile(
    r"Must not be after end_date|Must be at most 7 days old|\\u0000|bytes of UTF-8"
    r"|more than 10,000 buckets|Must be a finite number|that the database knows"
)
"""What is wrong with a request that no JSON Schema can say."""

SCHEMA = schemathesis.openapi.from_dict(openapi())
SENT: Counter[int] = Counter()


@pytest.fixture(scope="module")
def base_url(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a service as a process of its own."""
    log = tmp_path_factory.mktemp("schemathesis") / "log"
    process = ServiceProcess(shared_database_url, log, LOG_LEVEL="warning", USERS_API="true")
    with process.running():
        yield process.base_url
        assert process.answers()
    assert "Traceback" not in log.read_text()


def cases(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@SCHEMA.exclude(path="/users").parametrize()
@cases(EXAMPLES)
def test_nothing_is_found(case: Any, base_url: str, database: Database) -> None:
    find_nothing(case, base_url, database)


@SCHEMA.include(path="/users").parametrize()
@cases(EXAMPLES // 10)  # Each refreshes all aggregates.
def test_nothing_is_found_by_erasing(case: Any, base_url: str, database: Database) -> None:
    find_nothing(case, base_url, database)


def find_nothing(case: Any, base_url: str, database: Database) -> None:
    is_batch = case.operation.path == "/events/batch"
    if is_batch:
        database.execute("delete from events")
    answer = case.call(base_url=base_url)
    SENT[answer.status_code] += 1
    excluded = [positive_data_acceptance] if is_beyond_schemas(case, answer) else []
    case.validate_response(answer, excluded_checks=excluded)
    if answer.status_code == 202:
        (assert_batch_is_stored if is_batch else assert_is_stored)(answer, database)


def is_beyond_schemas(case: Any, answer: Any) -> bool:
    """Whether all that is wrong with a request is what its schema can't say."""
    if answer.status_code != 400:
        return False
    problem = answer.json()
    if problem["type"].endswith(":malformed-request"):
        # It says that the body is compressed, which it is not.
        return "Content-Encoding" in (case.headers or {})
    errors = [*problem.get("errors", [])]
    errors += [error for one in problem.get("rejected", []) for error in one["errors"]]
    return bool(errors) and all(BEYOND_SCHEMAS.search(error["message"]) for error in errors)


def body_of(answer: Any) -> Any:
    """Return what was sent, as JSON."""
    body = answer.request.body
    return json.loads(body if isinstance(body, bytes) else body.encode())


def assert_is_stored(answer: Any, database: Database) -> None:
    sent = body_of(answer)
    user_id, event_type, payload = stored(database, answer.json()["event_id"])
    assert (user_id, event_type) == (sent["user_id"], sent["event_type"])
    assert as_doubles(payload) == as_doubles(sent["payload"])


def assert_batch_is_stored(answer: Any, database: Database) -> None:
    assert events_in(database) == answer.json()["accepted"]
    if answer.request.headers["Content-Type"] != "application/json":
        return
    rejected = {one["index"] for one in answer.json()["rejected"]}
    sent = [one for index, one in enumerate(body_of(answer)) if index not in rejected]
    query = "select user_id, event_type::text, payload::text from events"
    found = [(user, kind, json.loads(text)) for user, kind, text in database.execute(query)]
    assert {as_text(*row) for row in found} == {
        as_text(one["user_id"], one["event_type"], one["payload"]) for one in sent
    }


def as_text(user_id: str, event_type: str, payload: Any) -> str:
    return json.dumps([user_id, event_type, as_doubles(payload)], sort_keys=True)


def test_enough_was_sent() -> None:
    """The last: it counts what was sent before."""
    assert SENT[202] > 50
    assert SENT[400] > 100
    assert SENT.total() >= CASES
    print(f"sent {SENT.total()}: {dict(SENT)}")
