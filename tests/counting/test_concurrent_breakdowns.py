"""Breakdowns beside writers, refreshers and a converter: see test_concurrent.py."""

import random
from datetime import datetime
from typing import LiteralString

import pytest
from psycopg import Connection

from tests.counting.breakdowns import (
    ACTIVE_USERS,
    BREAKDOWN_LEVELS,
    assert_breakdowns_exact,
    assert_days_exact,
    refresh_all,
    rows,
)
from tests.counting.counts import connect, repeatable_read
from tests.counting.crowd import ELEMENTS, PAGES, SECONDS, USERS, Crowd, outside
from tests.counting.ledger import element_kind, page_kind, user_kind

ALL_PAGES: LiteralString = "select * from top_pages(%(start)s, %(end)s, most => 100)"
ALL_ELEMENTS: LiteralString = "select * from top_elements(%(start)s, %(end)s, most => 100)"

KINDS = [*map(page_kind, PAGES), *map(element_kind, ELEMENTS)]
USER_KINDS = [user_kind(user) for user in USERS]
ZONES = ("UTC", "Asia/Kathmandu")


@pytest.mark.native(reason="needs transactions side by side")
@pytest.mark.timeout(180 + 3 * SECONDS)
def test_every_breakdown_is_within_the_ledger_and_exact_at_rest(quiet_url: str) -> None:
    crowd = Crowd(quiet_url)
    families = zip(BREAKDOWN_LEVELS[::2], BREAKDOWN_LEVELS[1::2], strict=True)
    tasks = [*crowd.writers(), *crowd.refreshers(*families)]
    in_one_snapshot = [lambda: _read(crowd), lambda: _read_in_one_snapshot(crowd)]
    crowd.run([*tasks, *in_one_snapshot], SECONDS / 2)
    _assert_exact_at_rest(crowd)
    crowd.run([*tasks, crowd.converter(), lambda: _read(crowd, tries=3)], SECONDS / 2)
    _assert_exact_at_rest(crowd)
    crowd.report()


def _read(crowd: Crowd, tries: int = 1) -> None:
    """Ask as the service does; each answer must be within the ledger."""
    with connect(crowd.url) as connection:

        def wrong(number: int) -> object:
            return _wrong_tops(crowd, connection, number) or _wrong_users(crowd, connection, number)

        crowd.each_range(tries, wrong, tries)


def _wrong_tops(crowd: Crowd, connection: Connection, number: int) -> object:
    counts, bounds = crowd.asked(number, KINDS, lambda *ends: _tops(connection, *ends))
    return outside(counts, bounds)


def _wrong_users(crowd: Crowd, connection: Connection, number: int) -> object:
    """A user is surely counted who has an event all the time, and surely not who never has one."""
    users, bounds = crowd.asked(number, USER_KINDS, lambda *ends: _users(connection, *ends))
    least = sum(lowest > 0 for lowest, _ in bounds.values())
    most = sum(highest > 0 for _, highest in bounds.values())
    return outside({"users": users}, {"users": (least, most)})


def _tops(connection: Connection, start: datetime, end: datetime) -> dict[str, int]:
    """Return how often each page was viewed, and each element clicked."""
    pages = rows(connection, ALL_PAGES, start=start, end=end)
    elements = rows(connection, ALL_ELEMENTS, start=start, end=end)
    return {page_kind(path): views for path, views in pages} | {
        element_kind(element): clicks for element, clicks in elements
    }


def _users(connection: Connection, start: datetime, end: datetime) -> int:
    ((users,),) = rows(connection, ACTIVE_USERS, start=start, end=end, site=1)
    return int(users)


def _read_in_one_snapshot(crowd: Crowd) -> None:
    """Ask in REPEATABLE READ: each answer must be that of plain SQL."""
    dice = random.Random("zones")
    with connect(crowd.url) as connection:

        def wrong(number: int) -> object:
            with repeatable_read(connection):
                assert_breakdowns_exact(connection, *crowd.ledger.ranges[number])
                assert_days_exact(connection, *crowd.ledger.ranges[number], dice.choice(ZONES))
            return None

        crowd.each_range("snapshot", wrong)


def _assert_exact_at_rest(crowd: Crowd) -> None:
    with connect(crowd.url) as connection:
        for number, ends in enumerate(crowd.ledger.ranges):
            assert _tops(connection, *ends) == crowd.kept(number, KINDS)
            assert _users(connection, *ends) == len(crowd.kept(number, USER_KINDS))
        refresh_all(connection)
        for ends in crowd.ledger.ranges:
            assert_breakdowns_exact(connection, *ends)
            for zone in ZONES:
                assert_days_exact(connection, *ends, zone)
