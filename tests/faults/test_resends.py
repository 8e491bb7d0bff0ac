"""The same events sent again: at once, to two instances, and where they have become columns."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.faults.support import assert_kept, kept_promise, post, settle
from tests.support.ledger import Ledger, is_valid
from tests.support.services import ServiceProcess

pytestmark = pytest.mark.fault

ROUNDS = 10
EVENTS = 100
DAY_MILLISECONDS = 24 * 3600 * 1000
TO_COLUMNS = "select compress_chunk(chunk) from show_chunks('events') as chunk"


def new_events(ledger: Ledger, days_ago: int = 0) -> list[int]:
    numbers = ledger.new_events(EVENTS)
    now = time.time_ns() // 1_000_000 - days_ago * DAY_MILLISECONDS
    ledger.give_ids(numbers, [now] * EVENTS)
    return numbers


def stored_anew(answers: Sequence[httpx.Response]) -> int:
    return sum(answer.json()["accepted"] for answer in answers)


def valid(numbers: Sequence[int]) -> int:
    return sum(map(is_valid, numbers))


def test_a_batch_sent_three_times_at_once_to_two_instances(
    database_url: str, tmp_path: Path
) -> None:
    def send(client: httpx.Client) -> httpx.Response:
        return client.post("/events/batch", content=body, headers=json)

    json = {"Content-Type": "application/json"}
    ledger = Ledger()
    with ExitStack() as stack, ThreadPoolExecutor(6) as senders:
        services = [
            stack.enter_context(ServiceProcess(database_url, tmp_path / f"{name}.log").running())
            for name in ("one", "two")
        ]
        clients = [
            stack.enter_context(httpx.Client(base_url=service.base_url)) for service in services
        ]
        for _ in range(ROUNDS):
            numbers = new_events(ledger)
            body = ledger.request(numbers)
            answers = list(senders.map(send, clients * 3))
            for answer in answers:
                ledger.note(numbers, answer, batch=True)
            assert stored_anew(answers) == valid(numbers)
        for service in services:
            settle(service)
    comparison = assert_kept("each batch 3 times to 2 instances", ledger, database_url)
    assert comparison.stored == comparison.accepted


def test_events_sent_again_after_they_have_become_columns(
    database_url: str, tmp_path: Path
) -> None:
    with (
        kept_promise("sent again into columns", database_url, tmp_path) as trial,
        httpx.Client(base_url=trial.service.base_url) as client,
    ):
        ledger = trial.ledger
        numbers = new_events(ledger, days_ago=3)
        assert stored_anew([post(client, ledger, numbers)]) == valid(numbers)
        with psycopg.connect(database_url, autocommit=True) as connection:
            assert connection.execute(TO_COLUMNS).rowcount == 1
        assert stored_anew([post(client, ledger, numbers)]) == 0
        late = new_events(ledger, days_ago=3)
        assert stored_anew([post(client, ledger, numbers + late)]) == valid(late)
        single = [next(number for number in numbers if is_valid(number))]
        assert post(client, ledger, single).status_code == 202
    assert trial.comparison.stored == trial.comparison.accepted
