"""Counts that can't be exact any more, since retention let the events at an edge go."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg

from service.analytics.parameters import MICROSECOND, RangeQuery, invalid_query
from service.problems import FieldError, Problem

NOT_KEPT = "TM001"
"""The SQLSTATE of require_events() in the database."""

NAMES = {timedelta(minutes=1): "minute", timedelta(minutes=15): "quarter hour"}
EPOCH = datetime.fromtimestamp(0, UTC)


def not_kept(error: BaseException, query: RangeQuery) -> Problem | None:
    """Return the problem for the client if an error is that of events that are not kept any more.

    It names the parameters whose edge has to move, and where to.
    """
    if not isinstance(error, psycopg.Error) or error.sqlstate != NOT_KEPT:
        return None
    # "events before 2026-08-01T00:00:00Z are not kept", and "1 minute"
    border = (error.diag.message_primary or "").split()[2]
    minutes = (error.diag.message_detail or "").split()[0]
    moves = _moves(query, datetime.fromisoformat(border), timedelta(minutes=int(minutes)))
    head = f"Events before {border} are not kept: "
    errors = [FieldError(field=name, message=head + advice) for name, advice in moves]
    # Else the edges of buckets between the two do not lie on whole ones: a zone's, long ago.
    return invalid_query(
        errors or [FieldError(field="tz", message=f"{head}use UTC, or a later start_date")]
    )


def _moves(query: RangeQuery, border: datetime, finest: timedelta) -> Iterator[tuple[str, str]]:
    start, end = query.half_open()
    name = NAMES[finest]
    if start is not None and start < border and (over := (start - EPOCH) % finest):
        yield "start_date", f"use the start of a whole {name}, like {_text(start - over)}"
    if end is not None and end < border and (over := (end - EPOCH) % finest):
        last = end - over + finest - MICROSECOND
        yield "end_date", f"use a date, or the end of a whole {name}, like {_text(last)}"


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
