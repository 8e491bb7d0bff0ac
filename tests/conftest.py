"""Fresh databases on a real server: the embedded one, or the one of DATABASE_URL."""

import os
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from service.database.embedded import EmbeddedDatabase
from service.database.migrations import migrate
from tests.access.support import asking_service, make_keys
from tests.support.databases import Database, drop_everything, new_database
from tests.support.services import running_service, service_client

GIVEN_SERVER = os.environ.get("DATABASE_URL")

ONE_SESSION = "the embedded server has one session: nothing runs beside a transaction"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what means nothing on the embedded server, with the reason."""
    for item in items:
        marker = item.get_closest_marker("native")
        if marker is not None and GIVEN_SERVER is None:
            item.add_marker(pytest.mark.skip(reason=marker.kwargs.get("reason", ONE_SESSION)))


@pytest.fixture(scope="session")
def native() -> bool:
    """Whether the tests run on a server with many sessions."""
    return GIVEN_SERVER is not None


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server on which databases are made."""
    if GIVEN_SERVER is not None:
        yield GIVEN_SERVER
        return
    with EmbeddedDatabase(tmp_path_factory.mktemp("embedded") / "data", durable=False) as server:
        yield server.url


@pytest.fixture
def empty_database_url(server_url: str) -> Iterator[str]:
    """An empty database."""
    if GIVEN_SERVER is None:
        drop_everything(server_url)
        yield server_url
    else:
        with new_database(server_url) as url:
            yield url


@pytest.fixture
def database_url(empty_database_url: str) -> str:
    """A database with the schema, and no events."""
    migrate(empty_database_url)
    return empty_database_url


@pytest.fixture
def client(database_url: str) -> Iterator[httpx.Client]:
    """A client of a service that runs on a fresh database."""
    with (
        running_service(database_url=database_url) as base_url,
        httpx.Client(base_url=base_url) as client,
    ):
        yield client


# One database and one service for all tests of a module


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
    """A client of the service that the module's tests share; it serves all that it can."""
    with service_client(database_url=shared_database_url, users_api=True) as client:
        yield client


@pytest.fixture(scope="module")
def keys(shared_database_url: str) -> dict[str, str]:
    """The keys of the shared database."""
    return make_keys(shared_database_url)


@pytest.fixture(scope="module")
def asking(shared_database_url: str, keys: dict[str, str]) -> Iterator[httpx.Client]:
    """A client, without a key, of a service that asks for keys."""
    assert keys
    with asking_service(shared_database_url) as client:
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
