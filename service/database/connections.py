"""Connections: their settings, and the pool that counts."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

QUERIES = Path(__file__).parents[2] / "sql" / "queries"

# Keepalives and TCP_USER_TIMEOUT (milliseconds) give a dead peer up after some ten seconds.
CONNECTION: dict[str, Any] = {
    "autocommit": True,
    "application_name": "tallymark",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "options": "-c timezone=UTC -c search_path=public",
}


def load_query(name: str) -> bytes:
    """Return the statement that stands in sql/queries under a name."""
    return (QUERIES / f"{name}.sql").read_bytes()


COMMIT_DURABLY = load_query("commit_durably")


async def connect(
    database_url: str, *, statement_timeout_seconds: float, **server_settings: str
) -> AsyncConnection:
    """Return a connection in autocommit mode, with further settings of PostgreSQL's for it.

    Its commits are durable where the server's default is that they need not be. Raises
    psycopg.OperationalError.
    """
    connection = await AsyncConnection.connect(
        database_url, **_with_statement_timeout(statement_timeout_seconds, **server_settings)
    )
    try:
        await connection.execute(COMMIT_DURABLY)
    except BaseException:
        await connection.close()
        raise
    return connection


POOL_SECONDS = 1.4
"""How long a request waits for a connection to read by."""

Result = TypeVar("Result")

_abandoned: set[asyncio.Task[Any]] = set()


async def within(seconds: float, work: Coroutine[Any, Any, Result]) -> Result:
    """Return what the work returns. Raises TimeoutError in time, and lets it be cancelled behind.

    A statement_timeout needs a server that speaks, and psycopg takes up to ten seconds to cancel a
    statement on one that does not: nobody waits for that.
    """
    task = asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if done:
            return task.result()
        raise TimeoutError
    finally:
        if not task.done():
            _abandoned.add(task)
            task.add_done_callback(_forget)
            task.cancel()


def _forget(task: asyncio.Task[Any]) -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()  # Nobody asks for it any more.


def read_pool(
    database_url: str, *, connections: int, deadline_seconds: float
) -> AsyncConnectionPool[AsyncConnection]:
    """Return a pool, not open yet, whose statements end by themselves after the deadline."""
    return AsyncConnectionPool(
        database_url,
        kwargs=_with_statement_timeout(deadline_seconds),
        min_size=1,
        max_size=connections,
        open=False,
        # An outage is answered within 2 seconds, under load too; counting goes on as soon as the
        # database is back.
        timeout=min(POOL_SECONDS, deadline_seconds),
        reconnect_timeout=1.0,
        check=AsyncConnectionPool.check_connection,
    )


def _with_statement_timeout(seconds: float, **server_settings: str) -> dict[str, Any]:
    settings = {"statement_timeout": round(seconds * 1000), **server_settings}
    options = [CONNECTION["options"], *(f"-c {name}={value}" for name, value in settings.items())]
    return CONNECTION | {"options": " ".join(options)}
