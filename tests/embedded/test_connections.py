"""Many connections on one session: each has its own, and leaves nothing behind."""

import socket
import threading
import time
from typing import Any

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from service.database.embedded import EmbeddedDatabase

from .conftest import Connect, eventually, killed_client, value

Connection = psycopg.Connection[Any]
MOMENT = "select '2025-01-01 00:00+00'::timestamptz"


def test_prepared_statements_of_the_same_name(connect: Connect) -> None:
    one, other = connect(prepare_threshold=0), connect(prepare_threshold=0)
    for number in range(3):
        assert value(one, "select %s::int", number) == number
        assert value(other, "select %s::int + 1", number) == number + 1
    one.execute("deallocate all")
    assert value(other, "select %s::int + 1", 5) == 6


def test_prepare_and_execute_in_sql(connect: Connect) -> None:
    one, other = connect(), connect()
    one.execute("prepare answer as select 1")
    other.execute("prepare answer as select 2")
    assert (value(one, "execute answer"), value(other, "execute answer")) == (1, 2)
    one.execute("deallocate answer")
    with pytest.raises(psycopg.errors.InvalidSqlStatementName):
        one.execute("execute answer")
    one.execute("discard all")
    assert value(other, "execute answer") == 2


def test_time_zones(connect: Connect) -> None:
    one, other = connect(), connect()
    one.execute("set timezone = 'Asia/Tokyo'")
    other.execute("select set_config('timezone', 'America/New_York', false)")
    assert (str(one.info.timezone), str(other.info.timezone)) == ("Asia/Tokyo", "America/New_York")
    assert value(one, MOMENT).hour == 9
    assert value(other, MOMENT).hour == 19
    with one.transaction():
        one.execute("set local timezone = 'Europe/Paris'")
        assert value(one, MOMENT).hour == 1
    assert value(one, MOMENT).hour == 9
    with one.transaction(force_rollback=True):
        one.execute("set timezone = 'Europe/Rome'")
    assert value(one, MOMENT).hour == 9
    one.execute("reset timezone")
    assert value(one, MOMENT).hour == 0
    assert value(connect(), "show timezone") == "UTC"


def test_settings(server: EmbeddedDatabase, connect: Connect) -> None:
    one, other = connect(), connect(options="-c statement_timeout=5s -c work_mem=7MB")
    one.execute("set app.site = '7'")
    other.execute("set app.site = '8'")
    assert value(one, "show app.site") == "7"
    assert value(other, "show app.site") == "8"
    assert value(one, "show work_mem") == "4MB"
    assert value(other, "show work_mem") == "7MB"
    one.execute("reset all")
    assert value(one, "show search_path") == '"$user", public'
    assert value(one, "show enable_seqscan") == "on"
    assert value(other, "show statement_timeout") == "5s"
    assert value(connect(), "select coalesce(current_setting('app.site', true), '')") == ""


def test_roles(connect: Connect) -> None:
    one, other = connect(), connect()
    one.execute("create role reader; create table if not exists kept (a int)")
    one.execute("grant select on kept to reader; set role reader")
    assert value(other, "select current_user") == "postgres"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        one.execute("delete from kept")
    one.execute("reset role; drop table kept; drop role reader")


def test_another_database_is_refused(server: EmbeddedDatabase) -> None:
    with pytest.raises(psycopg.OperationalError, match='has "tallymark"'):
        psycopg.connect(server.url.replace("/tallymark", "/other"))


def test_pool(server: EmbeddedDatabase) -> None:
    def work(pool: ConnectionPool) -> None:
        for number in range(50):
            with pool.connection() as connection:
                assert value(connection, "select %s::int", number) == number

    with ConnectionPool(server.url, min_size=8, max_size=20) as pool:
        threads = [threading.Thread(target=work, args=(pool,)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)


def in_background(connection: Connection, answers: list[Any]) -> threading.Thread:
    def count() -> None:
        answers.append(value(connection, "select count(*) from items"))

    thread = threading.Thread(target=count)
    thread.start()
    return thread


@pytest.fixture
def items(connection: Connection) -> Connection:
    connection.execute("create table items (id int)")
    return connection


def test_an_open_transaction_makes_others_wait(connect: Connect, items: Connection) -> None:
    holder = connect(autocommit=False)
    holder.execute("insert into items values (1)")
    answers: list[Any] = []
    thread = in_background(items, answers)
    time.sleep(0.2)
    assert not answers
    holder.commit()
    thread.join(5)
    assert answers == [1]


def test_an_idle_transaction_is_ended_when_others_wait(connect: Connect, items: Connection) -> None:
    holder = connect(autocommit=False)
    holder.execute("insert into items values (1)")
    assert value(items, "select count(*) from items") == 0
    with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
        holder.execute("select 1")


def test_a_client_cut_off_in_a_transaction(connect: Connect, items: Connection) -> None:
    holder = connect(autocommit=False)
    holder.execute("insert into items values (1)")
    wire = socket.fromfd(holder.pgconn.socket, socket.AF_INET, socket.SOCK_STREAM)
    wire.shutdown(socket.SHUT_RDWR)
    wire.close()
    assert value(items, "select count(*) from items") == 0


DEATHS = {
    "in a transaction": "c.execute('begin'); c.execute('insert into items values (1)')",
    "in a copy": """
manager = c.cursor().copy('copy items from stdin')
copy = manager.__enter__()
for n in range(20000): copy.write_row((n,))""",
    "in a pipeline": """
c.pgconn.enter_pipeline_mode()
for n in range(100): c.pgconn.send_query_params(b'insert into items values (1)', None)
c.pgconn.send_flush_request(); c.pgconn.flush(); time.sleep(0.2)""",
    "in a large result": """
c.pgconn.send_query(b"select repeat('x', 1000) from generate_series(1, 300000)")
time.sleep(0.2)""",
    "in a long statement": """
c.execute('begin')
c.pgconn.send_query(b'insert into items select n from generate_series(1, 100000000) n')
time.sleep(0.2)""",
}


@pytest.mark.parametrize("code", DEATHS.values(), ids=DEATHS.keys())
def test_a_killed_client_is_rolled_back(
    server: EmbeddedDatabase, items: Connection, code: str
) -> None:
    killed_client(server.url, code)
    started = time.monotonic()
    assert value(items, "select count(*) from items") == 0
    assert time.monotonic() - started < 3


def test_closing_right_after_a_statement_does_not_lose_it(
    connect: Connect, items: Connection
) -> None:
    sender = connect()
    sender.pgconn.send_query(b"insert into items select 1 from generate_series(1, 300000)")
    sender.pgconn.flush()
    sender.close()
    eventually(lambda: value(items, "select count(*) from items") == 300_000)


def test_a_client_that_does_not_read(connect: Connect, items: Connection) -> None:
    reader = connect()
    reader.pgconn.send_query(b"select repeat('x', 1000) from generate_series(1, 200000)")
    started = time.monotonic()
    value(items, "select count(*) from items")
    assert time.monotonic() - started < 15


def test_nonsense_on_the_socket(server: EmbeddedDatabase, items: Connection) -> None:
    port = int(server.url.rpartition(":")[2].partition("/")[0])
    for nonsense in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\x08\0\0\0\0",
        b"\xff" * 100,
        b"\0\0\0\x04\0\0\0\0",
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as wire:
            wire.sendall(nonsense)
            assert wire.recv(1000)[:1] in (b"E", b"")
    assert value(items, "select 1") == 1
