"""Rows that the database refuses though they passed validation: they alone are set aside."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.faults.support import kept_promise

pytestmark = pytest.mark.fault

REFUSE = "alter table events add constraint no_bad_user check (user_id <> 'bad')"
REQUESTS = 8


def bad_event(number: int) -> dict[str, Any]:
    return {"user_id": "bad", "event_type": "view", "payload": {"url": f"/{number}"}}


def test_refused_rows_are_set_aside_and_harm_no_neighbour(
    database_url: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with (
            httpx.AsyncClient(base_url=trial.service.base_url, timeout=30) as client,
            trial.senders() as senders,
        ):
            for number in range(REQUESTS):
                await senders.until_accepted(20)
                alone = await client.post("/events", json=bad_event(number))
                assert alone.status_code == 400, alone.text
                batch = [bad_event(REQUESTS + number), bad_event(2 * REQUESTS + number)]
                together = await client.post("/events/batch", json=batch)
                assert together.status_code == 400, together.text
                assert [one["index"] for one in together.json()["rejected"]] == [0, 1]
            await senders.until_accepted(200)

    what = f"{3 * REQUESTS} rows refused by the database"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(REFUSE)
        with kept_promise(what, database_url, tmp_path) as trial:
            asyncio.run(scenario())
        rows = connection.execute("select body, sqlstate from rejected_events").fetchall()
    urls = sorted(json.loads(body)["payload"]["url"] for body, _ in rows)
    assert urls == sorted(f"/{number}" for number in range(3 * REQUESTS)), "not each once"
    assert {sqlstate for _, sqlstate in rows} == {"23514"}
