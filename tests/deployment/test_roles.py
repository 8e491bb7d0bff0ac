"""The service's role stores and reads, and can do nothing else; the owner migrates."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from psycopg import errors
from structlog.testing import capture_logs

from service.database.connections import CONNECTION
from service.database.migrations import DatabaseError, load_migrations, migrate
from service.database.preparation import prepare
from service.database.retention import refresh_beside, set_retention
from service.doctor import examine
from service.events import new_event_id
from service.ingest.store import Store
from service.settings import Settings
from tests.deployment.roles import Roles, separate_roles
from tests.embedded.conftest import eventually
from tests.http.support import event, events_in
from tests.support.databases import new_database
from tests.support.events import make_event
from tests.support.services import ROOT, ServiceProcess, running_service, wait_until_replayed

pytestmark = pytest.mark.native(reason="the embedded server has one role")

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def roles(empty_database_url: str) -> Iterator[Roles]:
    """A database with the schema, by its owner and by the service's role."""
    with separate_roles(empty_database_url) as roles:
        yield roles


FORBIDDEN = (
    "delete from events",
    "update events set user_id = 'x'",
    "truncate events",
    "drop table events",
    "alter table events add column more text",
    "delete from rejected_events",
    "update rejected_events set reason = 'x'",
    "delete from ingest_minutes",
    "insert into retention default values",
    "update retention set retained_from = now()",
    "update database_identity set id = gen_random_uuid()",
    "insert into schema_migrations values (99, 'x', 'x')",
    "select drop_chunks('events', older_than => now())",
    "call refresh_counts()",
    "select schedule_retention('9 days')",
    "call apply_retention('9 days')",
    "select erase_user_events('x', '-infinity', 'infinity', null, 1)",
    "select alias_user('x', null)",
    "select erase_user_rejects('x', null)",
    "select delete_job(job_id) from timescaledb_information.jobs",
    "call ops.drop_dashboards()",
    "create table mine ()",
    "create schema mine",
)


WAITING = """
select count(*)
from timescaledb_information.jobs
left join timescaledb_information.job_stats using (job_id)
where jobs.proc_name = 'policy_refresh_continuous_aggregate'
  and (coalesce(total_successes, 0) = 0 or job_status = 'Running')
"""


def test_the_service_stores_and_reads(roles: Roles) -> None:
    given = {"event_id": _id_of(NOW), **event()}
    with (
        running_service(database_url=roles.service_url) as base_url,
        httpx.Client(base_url=base_url, timeout=20) as client,
    ):
        for _ in range(2):
            client.post("/events", json=given).raise_for_status()
        many = client.post("/events/batch", json=[event(n=n) for n in range(200)])
        assert many.json()["accepted"] == 200
        assert client.get("/analytics/event-counts").json() == {"total_events": 201}
        assert client.get("/analytics/event-counts-by-type").json() == {"view": 201}
        assert client.get("/analytics/active-users").json() == {"active_users": 1}
        assert client.get("/analytics/top-pages").json()["pages"][0]["views"] == 201
        assert len(client.get("/events?limit=1000").json()["events"]) == 201
        assert len(client.get("/events/export").text.splitlines()) == 201
        assert client.get("/health/ready").json()["status"] == "ready"
    # The last minute was reported when it stopped.
    with psycopg.connect(roles.owner_url) as connection:
        reported = connection.execute("select sum(events) from ingest_minutes").fetchone()
    assert reported == (202,), "the second time of the first among them"


def _id_of(moment: datetime) -> str:
    return str(UUID(bytes=new_event_id(int(moment.timestamp() * 1000))))


def test_it_resends_into_columns_and_sets_aside(roles: Roles) -> None:
    late = make_event(NOW - timedelta(days=6))._replace(id_is_given=True)

    async def write() -> list[bytes]:
        store = Store(roles.service_url, deadline_seconds=20)
        await store.write([late])
        with psycopg.connect(roles.owner_url, autocommit=True) as owner:
            owner.execute("select compress_chunk(chunk) from show_chunks('events') as chunk")
        known = await store.write([late], again=True)
        await store.write([make_event(NOW - timedelta(days=6)) for _ in range(100)])
        await store.set_aside(late, ValueError("of a test"))
        await store.check()
        await store.close()
        return list(known)

    assert asyncio.run(write()) == [late.event_id]
    with psycopg.connect(roles.service_url) as connection:
        assert events_in(connection) == 101


def test_it_erases_users_where_it_is_given_the_role_for_that(
    roles: Roles, empty_database_url: str
) -> None:
    with (
        running_service(database_url=roles.service_url, users_api=True) as base_url,
        httpx.Client(base_url=base_url, timeout=60) as client,
    ):
        client.post("/events", json=event("ann")).raise_for_status()
        with capture_logs() as entries:
            assert client.delete("/users?user_id=ann").status_code == 500
        assert "grant tallymark_privacy" in str(entries)
        with psycopg.connect(empty_database_url) as administrator:
            administrator.execute(f"grant tallymark_privacy to {roles.service}".encode())
        assert len(client.get("/users/export?user_id=ann").text.splitlines()) == 1
        assert client.delete("/users?user_id=ann").json()["events"] == 1
        assert client.get("/users/export?user_id=ann").text == ""


def test_it_can_do_nothing_else(roles: Roles) -> None:
    refused = (
        errors.InsufficientPrivilege,
        errors.UndefinedFunction,
        errors.InvalidTransactionTermination,
    )
    with psycopg.connect(roles.service_url, **CONNECTION) as connection:
        for statement in FORBIDDEN:
            with pytest.raises(refused):
                connection.execute(statement.encode())


def test_a_replay_lets_the_policies_refresh_at_once(roles: Roles) -> None:
    start = NOW - timedelta(days=3)
    query = """
        select count(*) from stale_ranges
        where stale_from <= %(at)s and stale_until > %(at)s
    """

    def stale() -> int:
        with psycopg.connect(roles.service_url) as connection:
            row = connection.execute(query, {"at": start}).fetchone()
        assert row is not None
        return int(row[0])

    with psycopg.connect(roles.owner_url, autocommit=True) as owner:
        # Only what is asked for shall refresh, and not the first run, which comes by itself.
        eventually(lambda: owner.execute(WAITING).fetchone() == (0,), 120)
        owner.execute(
            "select alter_job(job_id, schedule_interval => interval '12 hours', "
            "next_start => now() + interval '12 hours') from timescaledb_information.jobs "
            "where proc_name = 'policy_refresh_continuous_aggregate'"
        )

    async def write() -> None:
        store = Store(roles.service_url, deadline_seconds=20)
        await store.write([make_event(start)])
        await store.close()

    asyncio.run(write())
    assert stale() > 0

    def refreshed() -> bool:
        asyncio.run(refresh_beside(roles.service_url, start, start + timedelta(seconds=1)))
        return stale() == 0

    # A level is refreshed after the one that it is made of, at the next call at the latest.
    eventually(refreshed, 120)


def test_its_outage_is_spooled_and_replayed(roles: Roles, tmp_path: Path) -> None:
    service = ServiceProcess("postgresql://127.0.0.1:1/none", tmp_path / "log")
    with service.running():
        httpx.post(f"{service.base_url}/events", json=event(), timeout=20).raise_for_status()
    service.environment["DATABASE_URL"] = roles.service_url
    with service.running():
        wait_until_replayed(service.base_url)
        with psycopg.connect(roles.service_url) as connection:
            eventually(lambda: events_in(connection) == 1, 60)


# Rights that are too many

TABLES = """
select pg_class.oid::regclass::text || ' ' || privilege_type
from pg_class cross join aclexplode(relacl)
where relnamespace = 'public'::regnamespace and grantee = 'tallymark_service'::regrole
"""
NEEDED = "select relation::text || ' ' || privilege from service_rights()"
EVERYBODY_CREATES = "select has_schema_privilege('public', 'public', 'create')"


def migrate_up_to(url: str, version: int, folder: Path) -> None:
    """Apply the migrations as they were when this version was the newest."""
    for migration in load_migrations():
        if migration.version <= version:
            (folder / migration.name).write_bytes(migration.statements)
    migrate(url, folder)


def test_the_service_may_do_what_it_needs_and_no_more(
    empty_database_url: str, tmp_path: Path
) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("create table others (secret text)")
        migrate_up_to(empty_database_url, 15, tmp_path)
        may_read = "select has_table_privilege('tallymark_service', %s, 'select')"
        assert connection.execute(may_read, ["others"]).fetchone() == (True,), "as it was"
        migrate(empty_database_url)
        connection.execute("create table later ()")
        for table in ("others", "later", "sites", "rejected_events", "schema_dashboards"):
            assert connection.execute(may_read, [table]).fetchone() == (False,), table
        needed = connection.execute(NEEDED).fetchall()
        assert sorted(connection.execute(TABLES).fetchall()) == sorted(needed)
        connection.execute("grant delete on events to tallymark_service")
        connection.execute("revoke select on keys from tallymark_service")
        connection.execute("call grant_service_access()")
        assert sorted(connection.execute(TABLES).fetchall()) == sorted(needed)


def test_nobody_makes_things_in_public_unasked(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        # As it was before PostgreSQL 15.
        connection.execute("grant create on schema public to public")
        migrate(empty_database_url)
        assert connection.execute(EVERYBODY_CREATES).fetchone() == (False,)


def test_the_owner_of_events_may_still_migrate(empty_database_url: str, tmp_path: Path) -> None:
    with separate_roles(empty_database_url, migrated=False) as roles:
        migrate_up_to(roles.owner_url, 15, tmp_path)
        with psycopg.connect(empty_database_url, autocommit=True) as administrator:
            administrator.execute("grant create on schema public to public")
            administrator.execute(f"revoke create on schema public from {roles.owner}".encode())
            migrate(empty_database_url)
            assert administrator.execute(EVERYBODY_CREATES).fetchone() == (False,)
        with psycopg.connect(roles.owner_url) as owner:
            owner.execute("create table mine ()")
            owner.rollback()


def test_doctor_tells_of_rights_that_are_too_many(empty_database_url: str, tmp_path: Path) -> None:
    def told(url: str, **settings: Any) -> str:
        given = {"database_url": url, "spool_directory": tmp_path / "spool", **settings}
        findings = examine(Settings.model_validate(given))
        return " ".join(one.found for one in findings if one.check == "rights")

    with (
        psycopg.connect(empty_database_url, autocommit=True) as administrator,
        separate_roles(empty_database_url, migrated=False) as roles,
    ):
        # The owner may not take from all what is not its own.
        administrator.execute("grant create on schema public to public")
        migrate(roles.owner_url)
        assert administrator.execute(EVERYBODY_CREATES).fetchone() == (True,)
        administrator.execute(f"grant tallymark_service to {roles.service}".encode())
        assert told(roles.service_url) == "Everybody may create in the schema public"
        administrator.execute("revoke create on schema public from public")
        assert told(roles.service_url) == "Nobody may do more than is needed"
        for statement, excess in (
            ("grant delete on events to {}", "delete on events"),
            ("grant create on schema public to {}", "create in the schema public"),
            ("grant tallymark_privacy to {}", "erase users, without USERS_API"),
        ):
            administrator.execute(statement.format(roles.service).encode())
            assert excess in told(roles.service_url)
        assert "erase users" not in told(roles.service_url, users_api=True)
        assert re.search(r"it needs: .* and \d+ more", told(roles.owner_url))


# Starts


def test_a_start_by_the_owners_url_migrates(empty_database_url: str) -> None:
    with separate_roles(empty_database_url, migrated=False) as roles:
        with psycopg.connect(empty_database_url, autocommit=True) as connection:
            connection.execute(f"grant tallymark_service to {roles.service}".encode())
        applied = prepare(roles.service_url, None, roles.owner_url)
        assert applied[0] == "0001_events.sql"
        assert prepare(roles.service_url, None) == []


def test_a_start_without_rights_says_what_to_do(empty_database_url: str) -> None:
    with separate_roles(empty_database_url, migrated=False) as roles:
        with pytest.raises(DatabaseError) as caught:
            prepare(roles.service_url, None)
        assert str(caught.value).startswith("The database lacks 0001_events.sql and ")
        assert "`python -m service migrate` with the owner's URL" in str(caught.value)
        done = subprocess.run(
            [sys.executable, "-m", "service", "serve"],
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": roles.service_url, "PORT": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.strip() == f"tallymark: {caught.value}"


def test_a_schema_that_is_behind_is_told(roles: Roles) -> None:
    with psycopg.connect(roles.owner_url) as owner:
        owner.execute("delete from schema_migrations where version >= 14")
    with pytest.raises(DatabaseError, match=r"lacks 0014_roles\.sql and \d+ more"):
        prepare(roles.service_url, None)
    with psycopg.connect(roles.owner_url) as owner:
        owner.execute("update schema_migrations set checksum = 'x' where version = 1")
    with pytest.raises(DatabaseError, match="in another form"):
        prepare(roles.service_url, None)


def test_a_retention_that_differs_is_told(roles: Roles) -> None:
    with capture_logs() as entries:
        prepare(roles.service_url, None)
        set_retention(roles.owner_url, 30)
        prepare(roles.service_url, 30)
    assert [entry for entry in entries if "retention" in entry["event"]] == []
    with capture_logs() as entries:
        prepare(roles.service_url, 90)
    set_retention(roles.owner_url, None)  # Else its job would keep its owner from being dropped.
    (entry,) = [entry for entry in entries if "retention" in entry["event"]]
    assert "migrate --with-retention" in entry["remedy"]


def test_the_owners_url_must_lead_to_the_same_database(roles: Roles, server_url: str) -> None:
    with (
        new_database(server_url) as other,
        pytest.raises(DatabaseError, match="another database than DATABASE_URL"),
    ):
        prepare(roles.service_url, None, other)
