"""A user is exported and erased: events, refused ones, what is spooled; counts stay exact."""

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection, errors, sql

from service.database.connections import load_query
from service.ingest.spool.held import new_folder
from service.ingest.spool.records import encode
from service.ingest.store import Store
from service.privacy import erasure
from service.privacy.erasure import Erased, Erasure
from service.privacy.parameters import UserQuery
from tests.counting.counts import assert_exact, connect, counted
from tests.counting.ledger import ALL, Change, Ledger, Row, user_kind
from tests.dashboards.roles import rights_of
from tests.support.databases import Database
from tests.support.events import make_event

NOW = datetime.now(UTC)
TODAY = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
DAY = timedelta(days=1)

INSERT = """
insert into events (timestamp, event_id, site_id, user_id, event_type, payload)
select moment, gen_random_uuid(), site, user_name, 'view', '{"url": "/"}'
from generate_series(%(start)s::timestamptz, %(end)s::timestamptz, %(every)s::interval) as moment
cross join unnest(array[1, 2]) as site
cross join unnest(%(users)s::text[]) as user_name
"""


def fill(connection: Connection, start: datetime, end: datetime, *users: str) -> None:
    """Let these users be active at two sites, every now and then."""
    values = {"start": start, "end": end, "every": timedelta(hours=3), "users": list(users)}
    connection.execute(INSERT, values)


def erase(url: str, spool: Path, user_id: str, site: int | None = None) -> Erased:
    """Erase a user, and return how much that was."""
    return asyncio.run(Erasure(url, spool, UserQuery(user_id=user_id, site=site)).run())


def of_user(connection: Connection, user_id: str) -> tuple[int, int, int]:
    """Return how many rows bear a user id: events, and rows of both aggregates."""
    query = """
        select (select count(*) from events where user_id = %(user)s),
               (select count(*) from users_quarter_hour where user_id = %(user)s),
               (select count(*) from users_daily where user_id = %(user)s)
    """
    row = connection.execute(query, {"user": user_id}).fetchone()
    assert row is not None
    return row


def active(connection: Connection, site: int = 1) -> int:
    """Return how many users have events, as the service counts them."""
    query = load_query("active_users")
    values = {"range_start": None, "range_end": None, "site": site}
    row = connection.execute(query, values).fetchone()
    assert row is not None
    return int(row[1])


def test_a_user_is_erased_from_rows_and_columns_and_aggregates(
    connection: Connection, quiet_url: str, tmp_path: Path
) -> None:
    fill(connection, TODAY - 12 * DAY, TODAY, "ann", "bob")
    connection.execute("call refresh_counts()")
    connection.execute("select compress_chunk(chunk) from show_chunks('events') as chunk limit 5")
    before = counted(connection, None, None)["view"]
    erased = erase(quiet_url, tmp_path, "ann")
    assert erased.events == before * 2 / 2
    assert of_user(connection, "ann") == (0, 0, 0)
    assert_exact(connection)
    assert counted(connection, None, None, site=2) == {"view": before / 2}
    assert active(connection) == 1
    assert erase(quiet_url, tmp_path, "ann") == Erased()


def test_a_user_is_erased_at_one_site_only(
    connection: Connection, quiet_url: str, tmp_path: Path
) -> None:
    fill(connection, TODAY - DAY, TODAY, "ann")
    there = counted(connection, None, None, site=2)
    assert erase(quiet_url, tmp_path, "ann", site=1).events == 9
    assert counted(connection, None, None) == {}
    assert counted(connection, None, None, site=2) == there


def test_what_retention_let_go_keeps_its_counts_under_an_alias(
    connection: Connection, quiet_url: str, tmp_path: Path
) -> None:
    fill(connection, TODAY - 20 * DAY, TODAY, "ann", "bob")
    connection.execute("call apply_retention('10 days')")
    border = TODAY - 10 * DAY
    gone = counted(connection, None, border)
    erase(quiet_url, tmp_path, "ann")
    assert of_user(connection, "ann") == (0, 0, 0)
    assert counted(connection, None, border) == gone
    assert active(connection) == 2, "one of them under an alias"
    assert_exact(connection, border, None)
    connection.execute("call refresh_counts()")
    assert counted(connection, None, border) == gone
    assert active(connection) == 2


def test_an_erasure_that_was_cut_off_is_finished_by_the_next(
    connection: Connection, quiet_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(connection, TODAY - 5 * DAY, TODAY, "ann")
    monkeypatch.setattr(erasure, "MOST_EVENTS", 3)
    cut = Erasure(quiet_url, tmp_path, UserQuery(user_id="ann"))
    monkeypatch.setattr(cut, "_number", _cut_after(cut, 7))
    with pytest.raises(OSError, match="cut"):
        asyncio.run(cut.run())
    assert 7 <= cut.erased.events <= 21
    assert_exact(connection)
    assert erase(quiet_url, tmp_path, "ann").events == 2 * 41 - cut.erased.events
    assert of_user(connection, "ann") == (0, 0, 0)
    assert_exact(connection)


def _cut_after(cut: Erasure, calls: int) -> object:
    """Let the connection go after so many transactions."""
    number = cut._number
    left = iter(range(calls))

    async def counted_number(*arguments: object, **more: object) -> int:
        if next(left, None) is None:
            raise OSError("cut")
        return await number(*arguments, **more)  # type: ignore[arg-type]

    return counted_number


# A count beside an erasure


@pytest.mark.native(reason="needs transactions side by side")
def test_counts_beside_an_erasure_are_within_the_ledger(
    connection: Connection, quiet_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer adds, in rows and in columns, what is not erased, while users are erased."""
    users = [f"user-{number}" for number in range(6)]
    fill(connection, TODAY - 12 * DAY, TODAY, *users, "other")
    connection.execute("call refresh_counts()")
    connection.execute("select compress_chunk(chunk) from show_chunks('events') as chunk limit 4")
    monkeypatch.setattr(erasure, "MOST_EVENTS", 20)
    everything = (TODAY - 30 * DAY, TODAY + 9 * DAY)
    ledger = Ledger([everything, (TODAY - 11 * DAY, TODAY - DAY / 2)])
    stored = connection.execute("select timestamp, event_id, user_id from events where site_id = 1")
    rows = [Row(at, one, "view", user, "/", "") for at, one, user in stored.fetchall()]
    ledger.send(Change(added=rows))
    ledger.acknowledge(Change(added=rows))
    stop = threading.Event()
    failures: list[str] = []
    counts = 0

    def write() -> None:
        with connect(quiet_url) as writer:
            number = 0
            while not stop.is_set():
                number += 1
                moment = TODAY - timedelta(hours=number % 280, microseconds=number)
                event_id = UUID(int=number)
                change = Change([Row(moment, event_id, "view", "other", "/", "")])
                ledger.send(change)
                writer.execute(
                    "insert into events (timestamp, event_id, user_id, event_type, payload) "
                    "values (%s, %s, 'other', 'view', '{}')",
                    [moment, event_id],
                )
                ledger.acknowledge(change)

    def read() -> None:
        nonlocal counts
        with connect(quiet_url) as reader:
            while not stop.is_set():
                number = counts % 2
                before = ledger.before(number, [ALL])[ALL]
                count = sum(counted(reader, *ledger.ranges[number]).values())
                after = ledger.after(number, [ALL])[ALL]
                if not before[0] - after[1] <= count <= after[0] - before[1]:
                    failures.append(f"{count} is not within {before} and {after}")
                counts += 1

    threads = [threading.Thread(target=work) for work in (write, read, read)]
    for thread in threads:
        thread.start()
    try:
        for user in users:
            gone = Change(deleted=[row for row in rows if row.user_id == user])
            ledger.send(gone)
            erase(quiet_url, tmp_path, user)
            ledger.acknowledge(gone)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert counts > 10
    for number, (start, end) in enumerate(ledger.ranges):
        plus, minus = ledger.before(number, [ALL])[ALL]
        assert counted(connection, start, end) == {"view": plus - minus}
        assert_exact(connection, start, end)
    assert ledger.before(0, [user_kind("other")])[user_kind("other")][1] == 0


# What was refused, and what is spooled


@pytest.fixture(scope="module")
def rejects(database: Database) -> Iterator[Database]:
    """The shared database, with nothing refused."""
    database.execute("truncate rejected_events")
    yield database
    database.execute("truncate rejected_events")


characters = st.characters(codec="utf-8", exclude_characters="\0")
user_ids = st.text(characters, min_size=1, max_size=20).filter(lambda text: bool(text.strip()))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(user=user_ids, other=user_ids)
def test_a_refused_event_is_found_by_its_user_and_by_no_other(
    rejects: Database, shared_database_url: str, user: str, other: str
) -> None:
    payload = json.dumps({"url": f'"user_id":{json.dumps(other)},"event_type":'}).encode()

    async def set_aside() -> None:
        store = Store(shared_database_url, deadline_seconds=20)
        await store.set_aside(make_event(user_id=user, payload=payload), ValueError("of a test"))
        await store.close()

    asyncio.run(set_aside())
    found = "select count(*) from user_rejects(%s, null)"
    assert rejects.execute(found, [user]).fetchone() == (1,)
    if other != user:
        assert rejects.execute(found, [other]).fetchone() == (0,)
    erased = rejects.execute("select erase_user_rejects(%s, null)", [user]).fetchone()
    assert erased == (1,)


def test_spools_that_nobody_holds_are_cleared_and_others_are_told_of(
    database_url: str, tmp_path: Path
) -> None:
    events = [make_event(user_id=user) for user in ("ann", "bob", "ann")]
    held = new_folder(tmp_path)
    left = new_folder(tmp_path)
    foreign = new_folder(tmp_path)
    foreign.bind("another")
    for one in (held, left, foreign):
        (one.path / "1.events").write_bytes(encode(events))
    only_hers = left.path / "2.events"
    only_hers.write_bytes(encode(events[:1]))
    left.release()
    erased = erase(database_url, tmp_path, "ann")
    assert (erased.spooled, erased.still_spooled) == (3, 2)
    assert (left.path / "1.events").read_bytes() == encode(events[1:2])
    assert not only_hers.exists()
    assert (foreign.path / "1.events").read_bytes() == encode(events)
    held.release()
    foreign.release()


# Rights


def test_the_role_erases_a_user_and_changes_nothing_else(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        fill(connection, TODAY - DAY, TODAY, "ann", "bob")
        one = ["ann", "-infinity", "infinity"]
        erase_events = "select erase_user_events(%s, %s, %s, null, 5)"
        with rights_of(connection, "tallymark_privacy"):
            assert connection.execute(erase_events, one).fetchone() == (5,)
            for statement in ("delete from events", "delete from rejected_events"):
                with pytest.raises(errors.InsufficientPrivilege):
                    connection.execute(statement.encode())
        with (
            rights_of(connection, "tallymark_read"),
            pytest.raises(errors.InsufficientPrivilege),
        ):
            connection.execute(erase_events, one)


def test_no_function_that_runs_with_its_owners_rights_is_everybodys(database: Database) -> None:
    query = sql.SQL(
        "select oid::regprocedure::text, proconfig::text, has_function_privilege('public', oid, "
        "'execute') from pg_proc where prosecdef and pronamespace in "
        "('public'::regnamespace, 'ops'::regnamespace) and proname !~ '^_' "
        "and not exists (select from pg_depend where objid = pg_proc.oid and deptype = 'e')"
    )
    found = database.execute(query).fetchall()
    assert len(found) >= 5
    for name, configuration, is_everybodys in found:
        assert "search_path=pg_catalog" in configuration, name
        assert not is_everybodys, name
