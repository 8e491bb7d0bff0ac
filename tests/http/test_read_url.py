"""DATABASE_READ_URL: counts are asked of another database than that which takes the events."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.database.embedded import EmbeddedDatabase
from service.database.migrations import migrate
from tests.http.support import event
from tests.support.databases import new_database
from tests.support.services import running_service


@pytest.fixture
def other_url(server_url: str, native: bool, tmp_path: Path) -> Iterator[str]:
    """A second database, on a server of its own where each has but one."""
    if native:
        with new_database(server_url) as url:
            migrate(url)
            yield url
    else:
        with EmbeddedDatabase(tmp_path / "other", durable=False) as server:
            migrate(server.url)
            yield server.url


def test_events_go_to_one_and_counts_come_from_the_other(database_url: str, other_url: str) -> None:
    with running_service(database_url=database_url, database_read_url=other_url) as url:
        assert httpx.post(f"{url}/events", json=event()).status_code == 202
        assert httpx.get(f"{url}/analytics/event-counts").json() == {"total_events": 0}
    with running_service(database_url=other_url, database_read_url=database_url) as url:
        assert httpx.get(f"{url}/analytics/event-counts").json() == {"total_events": 1}
        assert httpx.get(f"{url}/analytics/event-counts-by-type").json() == {"view": 1}
