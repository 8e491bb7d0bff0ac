"""One database and one service for all tests of a module."""

from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from service.database.migrations import migrate
from tests.support.databases import drop_everything, new_database
from tests.support.services import running_service

Database = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture(scope="module")
def shared_database_url(server_url: str, native: bool) -> Iterator[str]:
    """A database with the schema that the module's tests share."""
    if native:
        with new_database(server_url) as url:
            migrate(url)
            yield url
    else:
        drop_everything(server_url)
        migrate(server_url)
        yield server_url


@pytest.fixture(scope="module")
def service(shared_database_url: str) -> Iterator[httpx.Client]:
    """A client of the service that the module's tests share."""
    with (
        running_service(database_url=shared_database_url) as base_url,
        httpx.Client(base_url=base_url, timeout=20) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def database(shared_database_url: str) -> Iterator[Database]:
    """A connection to the shared database, in autocommit mode."""
    with psycopg.connect(shared_database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def no_events(database: Database) -> None:
    """Empty the table first."""
    database.execute("delete from events")
