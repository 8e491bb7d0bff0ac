"""The connections that write, where the server has fewer than were asked for."""

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from structlog.testing import capture_logs
from structlog.typing import EventDict

from service.events import Event
from service.ingest.waiting import Kept
from service.ingest.writer import Writer
from tests.deployment.roles import separate_roles
from tests.ingest.test_groups import under_way
from tests.ingest.test_writer import ids, stored_ids, writing
from tests.support.databases import blocked_table
from tests.support.events import numbered_event

pytestmark = pytest.mark.native(reason="the embedded server has one role")


@pytest.fixture
def url_of_one(empty_database_url: str) -> Iterator[str]:
    """A database's URL for a role of the service that may have one connection."""
    with separate_roles(empty_database_url) as roles:
        limit = sql.SQL("alter role {} connection limit 1").format(sql.Identifier(roles.service))
        with psycopg.connect(empty_database_url, autocommit=True) as connection:
            connection.execute(limit)
        yield roles.service_url


async def keep_two_groups(writer: Writer, url: str) -> list[Event]:
    """Keep an event while the group of another one is being written, and return both."""
    events = [numbered_event(), numbered_event()]
    with blocked_table(url, native=True):
        tasks = []
        for event in events:
            tasks.append(asyncio.create_task(writer.keep([event])))
            async with asyncio.timeout(20):
                while writer.queued_events or not under_way(url):  # noqa: ASYNC110 - polled
                    await asyncio.sleep(0.02)
        # The second one is asking for a connection.
        await asyncio.sleep(0.2)
    assert await asyncio.gather(*tasks) == [Kept(), Kept()]
    return events


def test_a_group_waits_for_a_connection_where_no_further_one_can_be_had(
    empty_database_url: str, url_of_one: str
) -> None:
    def told() -> list[EventDict]:
        return [one for one in entries if one["event"] == "no further connection to write by"]

    async def scenario() -> None:
        async with writing(url_of_one, groups=2) as writer, asyncio.timeout(60):
            while not told():
                kept.extend(await keep_two_groups(writer, empty_database_url))
            for _ in range(3):
                kept.extend(await keep_two_groups(writer, empty_database_url))
            assert writer.outages == 0

    kept: list[Event] = []
    with capture_logs() as entries:
        asyncio.run(scenario())
    assert len(told()) == 1
    assert "too many connections" in told()[0]["error"]
    assert stored_ids(empty_database_url) == ids(kept)
