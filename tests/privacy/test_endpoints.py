"""GET /users/export, DELETE /users and the command line: a user is told, and erased."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from structlog.testing import capture_logs

from service.database.connections import load_query
from service.reading.exports import Exports
from tests.deployment.roles import separate_roles
from tests.http.support import assert_problem, event, events_in, fields
from tests.support.databases import Database
from tests.support.services import ROOT, running_service, service_client

SECRET = "ann+secret/of a test?#%"
"""What a path can't hold as it stands."""


@pytest.fixture(scope="module")
def users(shared_database_url: str) -> Iterator[httpx.Client]:
    """A client of a service that exports and erases users."""
    with service_client(database_url=shared_database_url, users_api=True, timeout=60) as client:
        yield client


@pytest.mark.usefixtures("no_events")
def test_a_user_is_exported_and_erased(users: httpx.Client, database: Database) -> None:
    for number in range(3):
        users.post("/events", json=event(SECRET, number=number)).raise_for_status()
    users.post("/events", json=event("bob")).raise_for_status()
    database.execute(
        "insert into rejected_events (event_id, site_id, reason, body) values "
        "(gen_random_uuid(), 1, 'of a test', convert_to(concat("
        """'{"event_id":"', gen_random_uuid(), '","user_id":', to_json(%s::text), """
        """',"event_type":"view","payload":{}}'), 'UTF8'))""",
        [SECRET],
    )
    exported = users.get("/users/export", params={"user_id": SECRET})
    assert exported.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in exported.text.splitlines()]
    assert [line["payload"]["number"] for line in lines[:3]] == [0, 1, 2]
    assert {line["user_id"] for line in lines[:3]} == {SECRET}
    assert json.loads(lines[3]["body"])["user_id"] == SECRET
    assert lines[3]["reason"] == "of a test"
    with capture_logs() as entries:
        answer = users.delete("/users", params={"user_id": SECRET})
    assert answer.json() == {"events": 3, "rejected": 1, "spooled": 0, "still_spooled": 0}
    assert "secret" not in str(entries)
    assert users.get("/users/export", params={"user_id": SECRET}).text == ""
    assert users.get("/analytics/event-counts").json() == {"total_events": 1}
    assert events_in(database) == 1


@pytest.mark.native(reason="the embedded server shows no sessions")
def test_no_statement_holds_the_user_who_is_exported(
    shared_database_url: str, database: Database
) -> None:
    """What a statement's text holds is logged when it fails, and pg_stat_statements keeps it."""
    last = (
        "select query from pg_stat_activity where query like '%copy (%' and pid <> pg_backend_pid()"
    )
    exports = Exports(shared_database_url, connections=1, deadline_seconds=60)

    async def seen(statement: bytes, more: dict[str, Any]) -> str:
        async with aclosing(exports.copied(statement, {"user_id": SECRET, **more})) as blocks:
            async for _ in blocks:
                return str(database.execute(last).fetchall())
        return ""

    database.execute(
        "insert into events (timestamp, event_id, user_id, event_type, payload) "
        "values (now(), gen_random_uuid(), %s, 'view', '{}')",
        [SECRET],
    )
    range_of_all: dict[str, Any] = {
        "site": 1,
        "event_type": None,
        "range_start": None,
        "range_end": None,
    }
    for statement, more in (
        (load_query("export_user"), {"site": None}),
        (load_query("export_ndjson"), range_of_all),
        (load_query("export_csv"), range_of_all),
    ):
        said = asyncio.run(seen(statement, more))
        assert "from events" in said
        assert "secret" not in said


def test_who_is_meant_must_be_said(users: httpx.Client) -> None:
    for answer in (users.get("/users/export"), users.delete("/users")):
        assert_problem(answer, 400)
        assert fields(answer) == {"user_id"}
        assert answer.json()["detail"] == "Nothing was done."
    answer = users.delete("/users", params={"user_id": "ann", "sites": "1"})
    assert fields(answer) == {"sites"}


def test_users_are_not_served_unless_allowed(shared_database_url: str) -> None:
    with running_service(database_url=shared_database_url) as base_url:
        for method, path in (("GET", "/users/export"), ("DELETE", "/users")):
            answer = httpx.request(method, f"{base_url}{path}", params={"user_id": "ann"})
            assert_problem(answer, 404)


def command(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run(
        [sys.executable, "-m", "service", "users", *arguments],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_exports_and_erases(database_url: str) -> None:
    with running_service(database_url=database_url) as base_url:
        for user in ("ann", "ann", "bob"):
            httpx.post(f"{base_url}/events", json=event(user)).raise_for_status()
    done = command(database_url, "export", "ann")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["user_id"] for line in done.stdout.splitlines()] == ["ann"] * 2
    done = command(database_url, "erase", "ann")
    assert done.stdout.startswith("Erased 2 events, 0 that had been refused")
    assert command(database_url, "export", "ann").stdout == ""
    with psycopg.connect(database_url) as connection:
        assert events_in(connection) == 1


@pytest.mark.parametrize("arguments", [("erase", " "), ("export", "x" * 257)])
def test_the_command_refuses_what_is_no_user_id(arguments: tuple[str, ...]) -> None:
    done = command("postgresql://127.0.0.1:1/none", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("tallymark: This user_id is none: Must ")
    assert len(done.stderr.splitlines()) == 1


def test_the_command_says_in_a_line_that_the_database_is_away(tmp_path: Path) -> None:
    done = command("postgresql://127.0.0.1:1/none", "erase", "ann")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "can't be reached" in done.stderr


@pytest.mark.native(reason="the embedded server has one role")
def test_the_command_tells_a_role_that_may_not_which_one_may(empty_database_url: str) -> None:
    with separate_roles(empty_database_url) as roles:
        for verb in ("export", "erase"):
            done = command(roles.service_url, verb, "ann")
            assert done.returncode == 1
            assert len(done.stderr.splitlines()) == 1
            assert "give the owner's URL in MIGRATION_DATABASE_URL" in done.stderr
