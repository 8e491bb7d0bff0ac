"""Limits: token buckets, requests by key and by address, proxies, and late events."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uuid_utils
from hypothesis import given, settings
from hypothesis import strategies as st

from service.access import limits
from service.access.limits import Buckets, sender_of
from tests.access.support import asking_service, auth
from tests.embedded.conftest import eventually
from tests.http.support import assert_problem, event
from tests.support.databases import Database, blocked_table
from tests.support.services import running_service


class Clock:
    """A clock that is told how late it is."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_holds_a_burst_and_fills_up_again() -> None:
    clock = Clock()
    buckets = Buckets(2, 10, clock)
    assert [buckets.spend("a") for _ in range(10)] == [0] * 10
    assert buckets.spend("a") == pytest.approx(0.5)
    assert buckets.spend("b") == 0
    clock.now += 0.49
    assert buckets.spend("a") == pytest.approx(0.01)
    clock.now += 0.02
    assert buckets.spend("a") == 0
    clock.now += 1000
    assert [buckets.spend("a") > 0 for _ in range(11)] == [False] * 10 + [True]


def test_what_is_more_than_a_bucket_holds_waits_until_it_is_full() -> None:
    clock = Clock()
    buckets = Buckets(1, 10, clock)
    assert buckets.spend("a", 1) == 0
    assert buckets.spend("a", 50) == pytest.approx(1)
    clock.now += 1
    assert buckets.spend("a", 50) == 0
    assert buckets.spend("a", 1) == pytest.approx(41)


@settings(deadline=None, max_examples=200)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 20), st.integers(1, 8), st.sampled_from([0, 0, 1, 9])), max_size=60
    ),
    holds=st.integers(1, 6),
)
def test_a_bucket_is_one_that_is_counted_by_hand(
    steps: list[tuple[int, int, int]], holds: int
) -> None:
    """By tokens that are in it, which is how the books have it; some are given back later."""
    clock = Clock()
    buckets = Buckets(1, holds, clock)
    tokens = float(holds)
    for pause, amount, back_after in steps:
        clock.now += pause / 4
        tokens = min(holds, tokens + pause / 4)
        wait = buckets.spend("a", amount)
        missing = min(amount, holds) - tokens
        assert wait == max(0.0, missing)
        tokens -= 0 if wait else amount
        if back_after and not wait:
            clock.now += back_after
            tokens = min(holds, tokens + back_after + amount)
            buckets.give_back("a", amount)


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("2001:db8::1", "2001:0DB8:0:0:ffff::", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("unix:a", "unix:b", False),
    ],
)
def test_a_sender_of_ipv6_has_one_bucket_for_all_its_addresses(
    one: str, other: str, are_same: bool
) -> None:
    assert (sender_of(one) == sender_of(other)) is are_same


def test_buckets_that_are_full_again_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_BUCKETS", 100)
    clock = Clock()
    buckets = Buckets(1, 1, clock)
    for number in range(10_000):
        clock.now += 0.1
        assert buckets.spend(number) == 0
    assert len(buckets._full_at) <= 101


@pytest.fixture(scope="module")
def limited(shared_database_url: str, keys: dict[str, str]) -> Iterator[httpx.Client]:
    """A service that answers a key, and an address, once in many seconds."""
    assert keys
    with asking_service(
        shared_database_url,
        key_requests_per_second=0.02,
        address_requests_per_second=0.02,
        trusted_proxies=("127.0.0.1",),
    ) as client:
        yield client


def read(client: httpx.Client, key: str, address: str) -> httpx.Response:
    return client.get("/events", headers=auth(key) | {"X-Forwarded-For": address})


def test_a_key_has_a_rate_from_whichever_address(
    limited: httpx.Client, keys: dict[str, str]
) -> None:
    assert read(limited, keys["read 1"], "192.0.2.1").status_code == 200
    answer = read(limited, keys["read 1"], "192.0.2.2")
    assert assert_problem(answer, 429)["type"].endswith("too-many-requests")
    assert 1 <= int(answer.headers["retry-after"]) <= 50
    assert read(limited, keys["read 2"], "192.0.2.3").status_code == 200


def test_an_address_has_a_rate_whatever_its_keys(
    limited: httpx.Client, keys: dict[str, str]
) -> None:
    assert_problem(read(limited, "x", "192.0.2.9"), 401)
    assert_problem(read(limited, keys["admin 1"], "192.0.2.9"), 429)
    answer = limited.post("/events", json=event(), headers={"X-Forwarded-For": "192.0.2.9"})
    assert_problem(answer, 429)
    # What a client says of itself stands before what the proxy saw.
    assert_problem(read(limited, keys["admin 1"], "192.0.2.77, 192.0.2.9"), 429)
    assert read(limited, keys["admin 1"], "192.0.2.10").status_code == 200


def test_what_is_open_is_answered_at_any_rate(limited: httpx.Client) -> None:
    assert {limited.get("/health/live").status_code for _ in range(30)} == {200}


def test_addresses_are_limited_without_keys_too(shared_database_url: str) -> None:
    with running_service(database_url=shared_database_url, address_requests_per_second=0.1) as url:
        # A proxy that is not trusted is the sender itself, whatever it says.
        headers = [{"X-Forwarded-For": f"192.0.2.{number}"} for number in range(3)]
        answers = [httpx.post(f"{url}/events", json=event(), headers=one) for one in headers]
        assert [answer.status_code for answer in answers] == [202, 429, 429]
        assert httpx.get(f"{url}/events").status_code == 429
        assert httpx.get(f"{url}/health/ready").status_code == 200


def old(minutes: float) -> dict[str, Any]:
    """Return an event of so long ago."""
    nanoseconds = time.time_ns() - int(minutes * 60e9)
    return event() | {"event_id": str(uuid_utils.uuid7(nanoseconds=nanoseconds))}


@pytest.mark.usefixtures("no_events")
def test_late_events_have_a_quota_by_key(
    shared_database_url: str, keys: dict[str, str], database: Database
) -> None:
    with asking_service(
        shared_database_url, late_events_per_minute=2, late_after_minutes=10
    ) as client:

        def send(site: int, *events: dict[str, Any]) -> httpx.Response:
            path, body = ("/events/batch", list(events)) if events[1:] else ("/events", events[0])
            return client.post(path, json=body, headers=auth(keys[f"write {site}"]))

        assert send(1, *(old(9) for _ in range(20))).status_code == 202
        assert send(1, old(11), event()).status_code == 202
        answer = send(1, old(60), old(60), event())
        assert assert_problem(answer, 429)["type"].endswith("too-many-late-events")
        assert int(answer.headers["retry-after"]) >= 1
        assert [send(1, old(60)).status_code for _ in range(2)] == [202, 429]
        assert send(1, event()).status_code == 202
        # As many as there may never be at once have their turn, too.
        assert send(2, *(old(60) for _ in range(10))).status_code == 202
    # Of what was answered 429 nothing is there.
    assert database.execute("select count(*) from events").fetchone() == (20 + 2 + 1 + 1 + 10,)


@pytest.mark.native(reason="what keeps one table from being written keeps keys from being read")
@pytest.mark.usefixtures("no_events")
@pytest.mark.parametrize("together", [False, True])
def test_late_events_that_were_not_kept_are_not_counted(
    shared_database_url: str, keys: dict[str, str], *, together: bool
) -> None:
    late = old(60)
    path, body = ("/events/batch", [late]) if together else ("/events", late)
    with asking_service(
        shared_database_url,
        late_events_per_minute=1,
        late_after_minutes=10,
        spool_bytes=0,
        ingest_deadline_seconds=1,
    ) as client:

        def send() -> int:
            answer = client.post(path, json=body, headers=auth(keys["write 1"]))
            answers.append(answer.status_code)
            return answers[-1]

        answers: list[int] = []
        with blocked_table(shared_database_url, native=True):
            for _ in range(3):
                send()
        assert answers == [503] * 3
        # The service may not know at once that the table is free again.
        eventually(lambda: send() != 503)
        assert answers[-1] == 202
        assert send() == 429
