"""PostgreSQL's wire protocol, as psycopg speaks it."""

import asyncio
import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import pq
from psycopg.types.json import Jsonb

from service.database.embedded import EmbeddedDatabase

from .conftest import Connect, value

Connection = psycopg.Connection[Any]
EXAMPLES: list[tuple[str, object]] = [
    ("int4", -7),
    ("int8", 2**40),
    ("float8", 0.1),
    ("bool", True),
    ("text", "ü€\t'"),
    ("numeric", Decimal("12.340")),
    ("bytea", b"\0\1\xff"),
    ("uuid", UUID("00000000-0000-7000-8000-000000000001")),
    ("timestamptz", datetime(2025, 5, 29, 12, 0, 0, 123456, tzinfo=UTC)),
    ("int4[]", [1, None, 3]),
]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_types_come_back_as_they_went(
    connection: Connection, name: str, example: object, binary: bool
) -> None:
    cursor = connection.cursor(binary=binary)
    assert cursor.execute(f"select %b::{name}".encode(), (example,)).fetchone() == (example,)
    assert cursor.execute(f"select %t::{name}".encode(), (example,)).fetchone() == (example,)


def test_json(connection: Connection) -> None:
    document = {"a": [1, None, "ü"], "b": {"c": 1.5}}
    assert value(connection, "select %s::jsonb", Jsonb(document)) == document


def test_server_parameters(connection: Connection) -> None:
    assert connection.info.server_version == 170005
    assert str(connection.info.timezone) == "UTC"
    assert value(connection, "select current_database()") == "tallymark"
    assert value(connection, "show search_path") == '"$user", public'
    assert value(connection, "show enable_seqscan") == "on"


def test_big_values(connection: Connection) -> None:
    numbers = list(range(200_000))
    assert value(connection, "select sum(n) from unnest(%s::int[]) n", numbers) == sum(numbers)
    assert value(connection, "select length(%s)", "x" * 5_000_000) == 5_000_000
    assert len(value(connection, "select repeat('z', 60000000)")) == 60_000_000
    rows = connection.execute("select repeat('y', 1000) from generate_series(1, 50000)")
    assert sum(len(row[0]) for row in rows) == 50_000_000


def test_insert_unnest_prepared_with_binary_arrays(connection: Connection) -> None:
    connection.execute("create table things (at timestamptz, id uuid, body jsonb)")
    cursor = connection.cursor(binary=True)
    for _ in range(3):
        cursor.execute(
            "insert into things select * from unnest(%b::timestamptz[], %b::uuid[], %b::jsonb[])",
            ([datetime.now(UTC)] * 1000, [UUID(int=n) for n in range(1000)], [Jsonb({})] * 1000),
            prepare=True,
        )
    assert value(connection, "select count(*) from things") == 3000


def test_errors_have_their_sqlstate_and_leave_the_connection_usable(connection: Connection) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute("select 1/0")
    with pytest.raises(psycopg.errors.SyntaxError):
        connection.execute("selec")
    with pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("select * from nowhere where a = %s", (1,))
    assert value(connection, "select 5") == 5


def test_several_statements_notices_and_nothing(connection: Connection) -> None:
    notices: list[str | None] = []
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    connection.execute("do $$ begin raise notice 'hello'; end $$")
    assert notices == ["hello"]
    assert connection.execute("select 1; select 2").nextset()
    assert connection.execute("").statusmessage is None


def test_transactions_and_savepoints(connect: Connect, connection: Connection) -> None:
    connection.execute("create table accounts (id int primary key, amount int)")
    connection.execute("insert into accounts values (1, 10), (2, 10)")
    with connection.transaction():
        connection.execute("update accounts set amount = 0 where id = 1")
        with connection.transaction(force_rollback=True):
            connection.execute("update accounts set amount = 0 where id = 2")
        with pytest.raises(psycopg.errors.DivisionByZero), connection.transaction():
            connection.execute("select 1/0")
    amounts = connection.execute("select amount from accounts order by id").fetchall()
    assert amounts == [(0,), (10,)]


def test_failed_transaction(connect: Connect) -> None:
    with connect(autocommit=False) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("select 1/0")
        assert connection.info.transaction_status == pq.TransactionStatus.INERROR
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute("select 1")
        connection.rollback()
        connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        assert value(connection, "show transaction_isolation") == "serializable"
        connection.rollback()
        connection.read_only = True
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("create table refused ()")


def test_server_side_cursor(connect: Connect) -> None:
    with connect(autocommit=False) as connection, connection.cursor("numbers") as cursor:
        cursor.itersize = 100
        cursor.execute("select n from generate_series(1, 1000) n")
        assert sum(row[0] for row in cursor) == 500_500


def test_pipeline(connection: Connection) -> None:
    with connection.pipeline():
        cursors = [connection.execute("select %s::int", (n,)) for n in range(500)]
    assert [cursor.fetchone() for cursor in cursors] == [(n,) for n in range(500)]
    connection.execute("create table numbers (n int primary key)")
    with connection.cursor() as cursor:
        cursor.executemany("insert into numbers values (%s)", [(n,) for n in range(5000)])
    assert value(connection, "select count(*) from numbers") == 5000


def test_pipeline_rolls_back_to_its_last_sync(connection: Connection) -> None:
    connection.execute("create table numbers (n int primary key)")
    with pytest.raises(psycopg.errors.UniqueViolation), connection.pipeline() as pipeline:  # noqa: PT012
        connection.execute("insert into numbers values (1)")
        pipeline.sync()
        connection.execute("insert into numbers values (2)")
        connection.execute("insert into numbers values (1)")
        connection.execute("insert into numbers values (3)")
    assert connection.execute("select n from numbers").fetchall() == [(1,)]


def test_pipeline_skips_from_an_error_to_sync(connection: Connection) -> None:
    raw = connection.pgconn
    raw.enter_pipeline_mode()
    for query in (b"select 1", b"select 1/0", b"select 3"):
        raw.send_query_params(query, None)
    raw.pipeline_sync()
    raw.send_query_params(b"select 4", None)
    raw.pipeline_sync()
    raw.flush()
    statuses: list[str] = []
    while statuses.count("PIPELINE_SYNC") < 2:
        if (result := raw.get_result()) is not None:
            statuses.append(pq.ExecStatus(result.status).name)
    raw.exit_pipeline_mode()
    expected = "TUPLES_OK FATAL_ERROR PIPELINE_ABORTED PIPELINE_SYNC TUPLES_OK PIPELINE_SYNC"
    assert statuses == expected.split()


def test_twenty_connections_keep_money_constant(
    server: EmbeddedDatabase, connection: Connection
) -> None:
    connection.execute("create table accounts (id int primary key, amount int)")
    connection.execute("insert into accounts select n, 1000 from generate_series(1, 10) n")
    asyncio.run(_twenty_workers(server.url))
    assert value(connection, "select sum(amount) from accounts") == 10_000


async def _twenty_workers(url: str) -> None:
    async with asyncio.TaskGroup() as workers:
        for number in range(20):
            workers.create_task(_transfer(url, random.Random(number)))


async def _transfer(url: str, chance: random.Random) -> None:
    take = "update accounts set amount = amount - 10 where id = %s"
    give = "update accounts set amount = amount + 10 where id = %s"
    async with await psycopg.AsyncConnection.connect(url, prepare_threshold=2) as connection:
        for _ in range(20):
            one, other = chance.sample(range(1, 11), 2)
            try:
                async with connection.transaction():
                    await connection.execute(take, (one,))
                    await asyncio.sleep(0.001)
                    await connection.execute("select 1 / %s", (chance.randrange(4),))
                    await connection.execute(give, (other,))
            except psycopg.errors.DivisionByZero:
                pass
            cursor = await connection.execute("select sum(amount) from accounts")
            assert await cursor.fetchone() == (10_000,)
            await connection.commit()
