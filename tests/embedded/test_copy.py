"""COPY, in and out, to its good and its bad ends."""

import struct
from typing import Any

import psycopg
import pytest
from psycopg import pq

from .conftest import Connect, value

Connection = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def table(connection: Connection) -> None:
    connection.execute("create table items (id int, name text)")


def pgcopy(count: int) -> bytes:
    rows = [b"PGCOPY\n\xff\r\n\0" + bytes(8)]
    for number in range(count):
        name = b"item %d" % number
        rows.append(struct.pack(f"!hiii{len(name)}s", 2, 4, number, len(name), name))
    return b"".join([*rows, b"\xff\xff"])


def count(connection: Connection) -> int:
    return int(value(connection, "select count(*) from items"))


def test_text_and_csv(connection: Connection) -> None:
    with connection.cursor().copy("copy items from stdin") as copy:
        for number in range(10_000):
            copy.write_row((number, f"tab\t and line\n {number}"))
    with connection.cursor().copy("copy items from stdin (format csv, header)") as copy:
        copy.write("id,name\n" + "".join(f'{n},"a,{n}"\n' for n in range(10_000)))
    assert count(connection) == 20_000
    names = connection.execute("select name from items where id = 9999 order by name").fetchall()
    assert names == [("a,9999",), ("tab\t and line\n 9999",)]


def test_50_megabytes_of_binary_in_one_piece_and_out_again(connection: Connection) -> None:
    data = pgcopy(2_000_000)
    assert len(data) > 50_000_000
    with connection.cursor().copy("copy items from stdin (format binary)") as copy:
        copy.write(data)
    assert count(connection) == 2_000_000
    with connection.cursor().copy("copy items to stdout (format binary)") as copy:
        assert sum(len(piece) for piece in copy) == len(data)


def test_in_small_pieces(connection: Connection) -> None:
    data = pgcopy(300)
    with connection.cursor().copy("copy items from stdin (format binary)") as copy:
        for start in range(0, len(data), 7):
            copy.write(data[start : start + 7])
    assert count(connection) == 300


@pytest.mark.parametrize("bad", [0, 150, 99_999])
def test_a_bad_row_refuses_all(connection: Connection, bad: int) -> None:
    with (
        pytest.raises(psycopg.errors.InvalidTextRepresentation, match=f"line {bad + 1},"),
        connection.cursor().copy("copy items from stdin") as copy,
    ):
        copy.write("".join(f"{'bad' if n == bad else n}\tx\n" for n in range(100_000)))
    assert count(connection) == 0


def test_bad_binary(connection: Connection) -> None:
    data = pgcopy(5000)
    with (
        pytest.raises(psycopg.Error),
        connection.cursor().copy("copy items from stdin (format binary)") as copy,
    ):
        copy.write(data[:-300] + b"\0\7" + data[-298:])
    assert count(connection) == 0


def test_a_client_that_fails_in_the_middle(connection: Connection) -> None:
    with pytest.raises(ZeroDivisionError), connection.cursor().copy("copy items from stdin") as c:
        c.write(str(1 // 0))
    assert count(connection) == 0


@pytest.mark.parametrize("query", [b"copy nowhere from stdin", b"copy items (no) from stdin"])
def test_refused_at_once(connection: Connection, query: bytes) -> None:
    with pytest.raises(psycopg.ProgrammingError), connection.cursor().copy(query):
        pytest.fail("it was not refused")
    assert count(connection) == 0


def test_in_a_transaction(connect: Connect) -> None:
    connection = connect(autocommit=False)
    with connection.cursor().copy("copy items from stdin") as copy:
        copy.write("1\tx\n")
    assert count(connection) == 1
    with (
        pytest.raises(psycopg.errors.InvalidTextRepresentation),
        connection.cursor().copy("copy items from stdin") as copy,
    ):
        copy.write("bad\tx\n")
    assert connection.info.transaction_status == pq.TransactionStatus.INERROR
    connection.rollback()
    assert count(connection) == 0


def test_by_the_extended_protocol(connection: Connection) -> None:
    raw = connection.pgconn
    for row, status in ((b"1\tx\n", "COMMAND_OK"), (b"bad\tx\n", "FATAL_ERROR")):
        raw.send_query_params(b"copy items from stdin", None)
        raw.flush()
        started = raw.get_result()
        assert started is not None
        assert started.status == pq.ExecStatus.COPY_IN
        raw.put_copy_data(row)
        raw.put_copy_end()
        ended = raw.get_result()
        assert ended is not None
        assert pq.ExecStatus(ended.status).name == status
        while raw.get_result() is not None:
            pass
    assert count(connection) == 1
