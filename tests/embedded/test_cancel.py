"""Statements that must end before they are done, and statements made to do harm."""

import contextlib
import threading
import time
from typing import Any

import psycopg
import pytest

from service.database.embedded import EmbeddedDatabase

from .conftest import Connect, value

Connection = psycopg.Connection[Any]
LONG = [
    b"select count(distinct n) from generate_series(1, 50000000) n",
    b"create table made as select n, md5(n::text) from generate_series(1, 50000000) n",
    b"select count(*) from generate_series(1, 500000000)",
]
ENDED_WITHIN_SECONDS = 2


@pytest.mark.parametrize("statement", LONG)
def test_cancel(connection: Connection, statement: bytes) -> None:
    pid = value(connection, "select pg_backend_pid()")
    threading.Timer(0.3, connection.cancel_safe).start()
    started = time.monotonic()
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute(statement)
    assert time.monotonic() - started < 0.3 + ENDED_WITHIN_SECONDS
    assert value(connection, "select pg_backend_pid()") == pid


def test_cancel_of_a_statement_that_waits(connect: Connect) -> None:
    holder, waiting = connect(autocommit=False), connect()
    holder.execute("select 1")
    threading.Timer(0.2, waiting.cancel_safe).start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        waiting.execute("select 2")
    holder.rollback()
    assert value(waiting, "select 3") == 3


def test_cancel_when_nothing_runs(connection: Connection) -> None:
    connection.cancel_safe()
    assert value(connection, "select 1") == 1


@pytest.mark.parametrize("statement", LONG)
def test_statement_timeout(connect: Connect, statement: bytes) -> None:
    other = connect()
    limited = connect(options="-c statement_timeout=300")
    started = time.monotonic()
    with pytest.raises(psycopg.errors.QueryCanceled):
        limited.execute(statement)
    assert time.monotonic() - started < 0.3 + ENDED_WITHIN_SECONDS
    assert value(other, "select count(*) from generate_series(1, 2000000)") == 2_000_000


def test_statement_timeout_is_each_statements_own(connection: Connection) -> None:
    connection.execute("set statement_timeout = '1s'")
    with connection.pipeline():
        for _ in range(6):
            connection.execute("select count(*) from generate_series(1, 500000)")
    with connection.transaction():
        connection.execute("set local statement_timeout = 0")
        connection.execute("select count(*) from generate_series(1, 6000000)")


def test_a_statement_that_cannot_be_interrupted_ends_with_the_engine(
    connection: Connection, connect: Connect
) -> None:
    connection.execute("set statement_timeout = 300")
    waiting = connect()
    started = time.monotonic()
    with pytest.raises(psycopg.errors.CrashShutdown):
        connection.execute(
            "select count(*) from generate_series(1, 20000) a, generate_series(1, 20000) b"
        )
    assert time.monotonic() - started < 10
    with pytest.raises(psycopg.OperationalError):
        waiting.execute("select 1")
    assert value(connect(), "select 1") == 1


HOSTILE = {
    "deep json": b"select '" + b"[" * 500_000 + b"'::jsonb",
    "deep json object": b"select '" + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"'::jsonb",
    "long expression": b"select 1" + b"+1" * 20_000,
    "deep parentheses": b"select " + b"(" * 50_000 + b"1" + b")" * 50_000,
    "deep regular expression": b"select 'x' ~ repeat('(', 20000)",
    "huge value": b"select repeat('x', 1073741824)",
    "many dimensions": b"select '" + b"{" * 7 + b"'::int[]",
    "terminate": b"select pg_terminate_backend(pg_backend_pid())",
    "program": b"copy (select 1) to program 'cat'",
    "reload": b"select pg_reload_conf()",
    "parallel": b"set debug_parallel_query = on; select count(*) from pg_class",
    "index concurrently": b"create table things (a int); create index on things (a)",
    "subscription": b"create subscription s connection 'host=x' publication p",
    "unknown library": b"load 'nonesuch'",
}


@pytest.mark.parametrize("statement", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_statements_end_nothing(
    server: EmbeddedDatabase, connection: Connection, connect: Connect, statement: bytes
) -> None:
    pid = server.pid
    bystander = connect()
    with contextlib.suppress(psycopg.DataError, psycopg.ProgrammingError, psycopg.OperationalError):
        connection.execute(statement)
    assert value(bystander, "select 1") == 1
    assert server.pid == pid
