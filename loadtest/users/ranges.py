"""The ranges that people ask counts of, as query strings."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from urllib.parse import urlencode

from service.events import EVENT_TYPES

ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
INSTANTS_WITHIN = timedelta(days=60)

Query = dict[str, str]


def today(now: datetime, chance: Random) -> Query:
    """Return today, to its end."""
    return _days(now, now)


def yesterday(now: datetime, chance: Random) -> Query:
    """Return yesterday."""
    return _days(now - timedelta(days=1), now - timedelta(days=1))


def last_7_days(now: datetime, chance: Random) -> Query:
    """Return the last seven days, today included."""
    return _days(now - timedelta(days=6), now)


def last_30_days(now: datetime, chance: Random) -> Query:
    """Return the last thirty days, today included."""
    return _days(now - timedelta(days=29), now)


def month(now: datetime, chance: Random) -> Query:
    """Return this month or the one before it, whole."""
    first = now.replace(day=1)
    if chance.random() < 0.5:
        first = (first - timedelta(days=1)).replace(day=1)
    following = (first + timedelta(days=31)).replace(day=1)
    return _days(first, following - timedelta(days=1))


def odd_instants(now: datetime, chance: Random) -> Query:
    """Return any two instants of the last weeks, to the microsecond."""
    start, end = sorted(now - INSTANTS_WITHIN * chance.random() for _ in range(2))
    return {"start_date": start.isoformat(), "end_date": end.isoformat()}


def everything(now: datetime, chance: Random) -> Query:
    """Return no limits at all."""
    return {}


KINDS: dict[Callable[[datetime, Random], Query], int] = {
    today: 6,
    yesterday: 3,
    last_7_days: 4,
    last_30_days: 3,
    month: 2,
    odd_instants: 2,
    everything: 1,
}
"""Each kind of range, and how often it is asked for."""


def draw_query(chance: Random, *, by_type: bool) -> str:
    """Return the query of one count: a range, now and then in a zone, or of one type of events."""
    (kind,) = chance.choices(list(KINDS), list(KINDS.values()))
    query = kind(datetime.now(UTC), chance)
    if query and chance.random() < 0.25:
        query["tz"] = chance.choice(ZONES)
    if not by_type and chance.random() < 0.4:
        query["event_type"] = chance.choice(EVENT_TYPES)
    return urlencode(query)


def _days(first: datetime, last: datetime) -> Query:
    return {"start_date": first.date().isoformat(), "end_date": last.date().isoformat()}
