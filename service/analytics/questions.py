"""Asks the database: one statement on the pool that reads, within the deadline of a request."""

from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from service.analytics.kept import not_kept
from service.analytics.parameters import RangeQuery, invalid_query
from service.database.connections import within
from service.database.failures import Failure, classify
from service.problems import FieldError, Problem, ProblemKind

Pool = AsyncConnectionPool[AsyncConnection]

TOO_MANY_BUCKETS = "TM002"
"""SQLSTATE of bucket_starts()."""


async def ask(
    pool: Pool,
    statement: bytes,
    query: RangeQuery,
    deadline_seconds: float,
    **values: object,
) -> list[tuple[Any, ...]]:
    """Return the rows of a statement over the query's range; it may take further values.

    Raises Problem: 503 while the database is away, 400 for what only the database can tell of a
    query.
    """
    range_start, range_end = query.half_open()
    values |= {"range_start": range_start, "range_end": range_end, "site": query.site}

    async def rows() -> list[tuple[Any, ...]]:
        async with pool.connection() as connection:
            cursor = await connection.execute(statement, values)
            return await cursor.fetchall()

    try:
        return await within(deadline_seconds, rows())
    except (psycopg.Error, PoolTimeout, TimeoutError) as error:
        raise not_kept(error, query) or _problem(error) or error from error


def _problem(error: Exception) -> Problem | None:
    if classify(error) in (Failure.AWAY, Failure.RETRY):
        return Problem(ProblemKind.COUNTS_UNAVAILABLE, "Try again in a moment.")
    if getattr(error, "sqlstate", None) == TOO_MANY_BUCKETS:
        message = "Must be wider: the range has more than 10,000 buckets of this width"
        return invalid_query([FieldError(field="interval", message=message)])
    if isinstance(error, psycopg.errors.InvalidParameterValue) and "time zone" in str(error):
        message = "Is not a time zone that the database knows"
        return invalid_query([FieldError(field="tz", message=message)])
    return None
