"""Asks the database: one statement on the pool that reads, within the deadline of a request."""

from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from service.analytics.kept import not_kept
from service.analytics.parameters import RangeQuery, invalid_query
from service.database.connections import within
from service.outages import away_is_503
from service.problems import FieldError, Problem, ProblemKind
from service.tracing import span

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
        with span("count"):
            async with pool.connection() as connection:
                cursor = await connection.execute(statement, values)
                return await cursor.fetchall()

    with away_is_503(ProblemKind.COUNTS_UNAVAILABLE):
        try:
            return await within(deadline_seconds, rows())
        except psycopg.Error as error:
            if problem := not_kept(error, query) or _invalid(error):
                raise problem from error
            raise


def _invalid(error: psycopg.Error) -> Problem | None:
    if error.sqlstate == TOO_MANY_BUCKETS:
        message = "Must be wider: the range has more than 10,000 buckets of this width"
        return invalid_query([FieldError(field="interval", message=message)])
    if isinstance(error, psycopg.errors.InvalidParameterValue) and "time zone" in str(error):
        message = "Is not a time zone that the database knows"
        return invalid_query([FieldError(field="tz", message=message)])
    return None
