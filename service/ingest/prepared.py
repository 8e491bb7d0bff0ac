"""A statement that each connection prepares once, and that takes one round trip from then on.

A cursor of psycopg's does the same, and with what it does besides takes as long again: it converts
parameters, looks up what is prepared, and makes ready to load rows. What is not documented of
psycopg 3.3 is `generators.execute()`.
"""

from collections.abc import Sequence
from weakref import WeakSet

from psycopg import AsyncConnection, generators
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult


class Prepared:
    """A statement with parameters $1, $2 and so on, in binary format, as its rows are."""

    def __init__(self, name: str, statement: bytes) -> None:
        self._name = name.encode()
        self._statement = statement
        self._connections: WeakSet[AsyncConnection] = WeakSet()
        """Those that know it."""

    async def run(self, connection: AsyncConnection, parameters: Sequence[bytes]) -> PGresult:
        """Return what it results in, on a connection that nobody else uses meanwhile.

        Raises what psycopg's cursors raise.
        """
        if connection not in self._connections:
            await connection.wait(self._prepare(connection.pgconn))
            self._connections.add(connection)
        return await connection.wait(self._execute(connection.pgconn, parameters))

    def _prepare(self, connection: PGconn) -> PQGen[PGresult]:
        connection.send_prepare(self._name, self._statement)
        return (yield from _result(connection))

    def _execute(self, connection: PGconn, parameters: Sequence[bytes]) -> PQGen[PGresult]:
        formats = [Format.BINARY] * len(parameters)
        connection.send_query_prepared(self._name, parameters, formats, Format.BINARY)
        return (yield from _result(connection))


def _result(connection: PGconn) -> PQGen[PGresult]:
    results: list[PGresult] = yield from generators.execute(connection)
    result = results[0]
    if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
        raise error_from_result(result)
    return result
