"""Connections: their settings, and the pool that counts."""

from pathlib import Path
from typing import Any

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


async def connect(database_url: str, *, statement_timeout_seconds: float) -> AsyncConnection:
    """Return a connection in autocommit mode. Raises psycopg.OperationalError."""
    return await AsyncConnection.connect(
        database_url, **_with_statement_timeout(statement_timeout_seconds)
    )


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
        # A request gives up within its deadline; counting goes on as soon as the database is back.
        timeout=min(2.0, deadline_seconds),
        reconnect_timeout=1.0,
        check=AsyncConnectionPool.check_connection,
    )


def _with_statement_timeout(seconds: float) -> dict[str, Any]:
    options = f"{CONNECTION['options']} -c statement_timeout={round(seconds * 1000)}"
    return CONNECTION | {"options": options}
