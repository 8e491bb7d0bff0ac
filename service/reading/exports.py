"""Exports: a range of events as one stream, made by the database."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from psycopg import AsyncConnection, AsyncCopy

from service.database.connections import connect, load_query
from service.problems import Problem, ProblemKind
from service.reading.parameters import ExportQuery

WHOSE = load_query("export_of")
STATEMENTS = {name: load_query(f"export_{name}") for name in ("ndjson", "csv")}

BLOCK_BYTES = 64 * 1024
"""Rows are handed on in blocks of about so much."""


class Exports:
    """So many at once, each over a connection of its own, and all apart from those that count."""

    def __init__(self, database_url: str, *, connections: int, deadline_seconds: float) -> None:
        self._database_url = database_url
        self._free = asyncio.Semaphore(connections)
        self.deadline_seconds = deadline_seconds

    def blocks(self, query: ExportQuery) -> AsyncGenerator[bytes]:
        """Yield a range of events, as copied() does."""
        start, end = query.half_open()
        values = query.filters() | {"range_start": start, "range_end": end}
        return self.copied(STATEMENTS[query.format], values, may_sort=query.user_id is not None)

    async def copied(
        self, statement: bytes, values: dict[str, Any], *, may_sort: bool = True
    ) -> AsyncGenerator[bytes]:
        """Yield what a COPY says, as of one snapshot; closing the generator ends the statement.

        Raises Problem where too many are under way, and what psycopg raises.
        """
        any_user = values["user_id"] is None
        if self._free.locked():
            raise Problem(ProblemKind.EXPORTS_BUSY, "Try again when one of them has ended.")
        async with (
            self._free,
            await connect(
                self._database_url,
                statement_timeout_seconds=self.deadline_seconds,
                **_planner_settings(may_sort=may_sort),
            ) as connection,
            _of_user(connection, values["user_id"]),
            connection.cursor().copy(statement, values | {"any_user": any_user}) as copy,
        ):
            async for block in _blocks(copy):
                yield block


@asynccontextmanager
async def _of_user(connection: AsyncConnection, user_id: str | None) -> AsyncIterator[None]:
    """Let a COPY know whose events are meant, where those of one user are."""
    if user_id is None:
        yield
        return
    async with connection.transaction():
        await connection.execute(WHOSE, {"user_id": user_id})
        yield


async def _blocks(copy: AsyncCopy) -> AsyncGenerator[bytes]:
    rows: list[Any] = []
    size = 0
    async for row in copy:
        rows.append(row)
        size += len(row)
        if size >= BLOCK_BYTES:
            yield b"".join(rows)
            rows, size = [], 0
    if rows:
        yield b"".join(rows)


def _planner_settings(*, may_sort: bool) -> dict[str, Literal["on", "off", "0"]]:
    """Return settings that keep an export's memory flat, and leave processors to the counts.

    Without sorting, chunks are read one after the other in the order of their key, or of their
    columns. One user's events are few: an index finds them, and they may be sorted.
    """
    return {
        "enable_sort": "on" if may_sort else "off",
        "max_parallel_workers_per_gather": "0",
        "jit": "off",
    }
