"""An embedded server for each file, and connections to it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from service.database.embedded import EmbeddedDatabase

Connect = Callable[..., psycopg.Connection[Any]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedDatabase]:
    """A server that does not fsync."""
    directory = tmp_path_factory.mktemp("embedded")
    with EmbeddedDatabase(directory, durable=False, log=print) as database:
        yield database


@pytest.fixture
def connect(server: EmbeddedDatabase) -> Iterator[Connect]:
    """Makes connections in autocommit, and closes them."""
    made = []

    def connect_(**options: Any) -> psycopg.Connection[Any]:
        options = {"autocommit": True, **options}
        made.append(psycopg.connect(server.url, **options))
        return made[-1]

    yield connect_
    for connection in made:
        connection.close()


@pytest.fixture
def connection(connect: Connect) -> psycopg.Connection[Any]:
    """One connection, and nothing of other tests in its way."""
    connection = connect()
    for table in connection.execute("select tablename from pg_tables where schemaname = 'public'"):
        connection.execute(sql.SQL("drop table {} cascade").format(sql.Identifier(*table)))
    return connection


def value(connection: psycopg.Connection[Any], query: LiteralString, *parameters: object) -> Any:
    """The first column of the first row."""
    row = connection.execute(query, parameters or None).fetchone()
    assert row is not None
    return row[0]


def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until something holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def killed_client(url: str, code: str) -> None:
    """Run a client that is killed at the end of its code, with `c` as its connection."""
    program = f"import os, time, psycopg\nc = psycopg.connect({url!r}, autocommit=True)\n{code}\n"
    program += "os.kill(os.getpid(), 9)"
    ended = subprocess.run([sys.executable, "-c", program], check=False, timeout=30)
    assert ended.returncode == -signal.SIGKILL


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def kill(database: EmbeddedDatabase) -> None:
    """End its process at once, in whatever it does."""
    os.kill(database.pid, signal.SIGKILL)
