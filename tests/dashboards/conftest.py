"""Connections to a database in which nothing happens but what the test does."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest
from psycopg import Connection

from tests.counting.conftest import quiet_url as quiet_url

Connect = Callable[[], Connection]

PERSON = "a person"


@pytest.fixture
def connect(quiet_url: str) -> Iterator[Connect]:
    """Makes connections in autocommit, and closes them."""
    with ExitStack() as stack:

        def connect_() -> Connection:
            connection = psycopg.connect(quiet_url, autocommit=True, application_name=PERSON)
            return stack.enter_context(connection)

        yield connect_


@pytest.fixture
def connection(connect: Connect) -> Connection:
    """One of them."""
    return connect()
