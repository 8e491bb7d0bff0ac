"""A database on which only the test refreshes and converts."""

from collections.abc import Iterator

import pytest
from psycopg import Connection

from service.database.migrations import migrate
from tests.counting.counts import await_listed_jobs, connect, stop_jobs, stop_scheduler


@pytest.fixture
def quiet_url(empty_database_url: str, native: bool) -> str:
    """A database with the schema and no events, in which no job runs.

    On a native server none has run. On the embedded one policies may have, once, on no events.
    """
    if native:
        stop_scheduler(empty_database_url)
    migrate(empty_database_url)
    with connect(empty_database_url) as connection:
        stop_jobs(connection)
        if not native:
            await_listed_jobs(connection)
    return empty_database_url


@pytest.fixture
def connection(quiet_url: str) -> Iterator[Connection]:
    """A connection like the service's to such a database."""
    with connect(quiet_url) as connection:
        yield connection
