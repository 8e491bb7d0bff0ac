"""What a database that is away means to who reads."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg_pool import PoolTimeout

from service.database.failures import Failure, classify
from service.problems import Problem, ProblemKind


@contextmanager
def away_is_503(kind: ProblemKind) -> Iterator[None]:
    """Let an outage, and a statement that is not answered in time, be a Problem of a kind."""
    try:
        yield
    except (psycopg.Error, PoolTimeout, TimeoutError) as error:
        if classify(error) in (Failure.AWAY, Failure.RETRY):
            raise Problem(kind, "Try again in a moment.") from error
        raise
