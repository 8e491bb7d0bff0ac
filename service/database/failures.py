"""What a failed statement means: one table from SQLSTATE to what is done about it."""

from enum import Enum

import psycopg
from psycopg_pool import PoolTimeout


class Failure(Enum):
    """What the database's error says about a write."""

    REFUSED = "refused"
    """The data can't be stored: set the row aside, keep its neighbours."""
    AWAY = "away"
    """The database is not there, or not able to write: try again, on a new connection."""
    RETRY = "retry"
    """Another transaction was in the way: try again."""
    DEFECT = "defect"
    """A mistake of ours."""


_BY_STATE = {
    "55P03": Failure.AWAY,
    "25006": Failure.AWAY,
    "25P03": Failure.AWAY,
    # An object that is just being changed: a chunk that becomes columns.
    "55000": Failure.RETRY,
    "55006": Failure.RETRY,
}
_BY_CLASS = {
    "22": Failure.REFUSED,
    "23": Failure.REFUSED,
    "54": Failure.REFUSED,
    "08": Failure.AWAY,
    "53": Failure.AWAY,
    "57": Failure.AWAY,
    "58": Failure.AWAY,
    "40": Failure.RETRY,
}


def classify(error: BaseException) -> Failure:
    """Return what an exception of a write means."""
    if isinstance(error, PoolTimeout | TimeoutError | OSError):
        return Failure.AWAY
    if not isinstance(error, psycopg.Error):
        return Failure.DEFECT
    if error.sqlstate is None:
        # The connection broke, or never came about.
        return Failure.AWAY if isinstance(error, psycopg.OperationalError) else Failure.DEFECT
    return _BY_STATE.get(error.sqlstate) or _BY_CLASS.get(error.sqlstate[:2], Failure.DEFECT)


def first_line(error: BaseException) -> str:
    """Return an error's text as one line for a log or an operator."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
