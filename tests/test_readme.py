"""Every example of the README is run, in its order, on the sample data, and answers as it says."""

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from service.settings import Settings
from tests.support.services import running_service

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)

VARYING = {"event_id", "timestamp", "request_id", "behind_seconds"}

Block = tuple[str, str]


def pairs(first: str, second: str) -> list[tuple[str, str]]:
    """Return each block of a kind with the one of the other kind that follows it."""
    following = itertools.pairwise(BLOCKS)
    return [
        (a, b) for (kind, a), (next_kind, b) in following if (kind, next_kind) == (first, second)
    ]


@pytest.fixture
def sample_database_url(database_url: str) -> str:
    """A database with the sample data, whose chunks stay rows: their plans are what it shows."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "select alter_job(job_id, scheduled => false) from timescaledb_information.jobs "
            "where hypertable_name = 'events'"
        )
    subprocess.run(
        [sys.executable, ROOT / "scripts" / "generate_events.py"],
        env=os.environ | {"DATABASE_URL": database_url},
        check=True,
        capture_output=True,
    )
    return database_url


@pytest.fixture
def base_url(sample_database_url: str) -> Iterator[str]:
    """A service on it."""
    with running_service(database_url=sample_database_url) as url:
        yield url


def without_varying(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer with what differs each time made equal."""
    return {name: "" if name in VARYING else value for name, value in answer.items()}


def test_each_request_is_answered_as_it_says(base_url: str) -> None:
    examples = pairs("sh", "json")
    assert len(examples) == sum(1 for kind, _ in BLOCKS if kind == "sh")
    for command, expected in examples:
        arguments = shlex.split(
            command.replace("\\\n", "").replace("http://127.0.0.1:8000", base_url)
        )
        done = subprocess.run(
            [*arguments, "--silent"], capture_output=True, text=True, check=True, timeout=20
        )
        assert without_varying(json.loads(done.stdout)) == without_varying(json.loads(expected)), (
            command
        )


def test_each_statement_gives_what_it_says(sample_database_url: str) -> None:
    examples = pairs("sql", "text")
    assert len(examples) == sum(1 for kind, _ in BLOCKS if kind == "sql")
    with psycopg.connect(sample_database_url, autocommit=True) as connection:
        # For some hundred rows a day a planner takes what costs it least thought.
        connection.execute("set enable_seqscan = off")
        connection.execute("set enable_bitmapscan = off")
        for statement, expected in examples:
            rows = connection.execute(statement).fetchall()
            found = "\n".join(" | ".join(str(value) for value in row) for row in rows)
            assert one_form(found) == one_form(expected), statement


def one_form(text: str) -> str:
    """Return a result with TimescaleDB's numbers, and what servers write otherwise, made equal."""
    text = re.sub(r"_hyper_\d+_\d+_chunk", "_hyper_chunk", text)
    text = re.sub(r'"?\b[\d_]+events_pkey"?', "events_pkey", text)
    return "\n".join(re.sub(r" +", " ", line).strip() for line in text.strip().splitlines())


def test_each_setting_is_listed_with_its_default() -> None:
    for name, field in Settings.model_fields.items():
        row = next((line for line in README.splitlines() if f"`{name.upper()}`" in line), None)
        assert row is not None, f"{name.upper()} is not in the README"
        if field.is_required() or field.default in ((), None):
            continue
        default = field.default
        shown = (
            str(default).lower() if isinstance(default, bool) else f"{default}".removesuffix(".0")
        )
        assert shown in row, f"the default of {name.upper()} is {shown}"


def test_each_command_of_the_command_line_exists() -> None:
    for command in set(re.findall(r"python -m service ([\w-]+)", README)):
        subprocess.run(
            [sys.executable, "-m", "service", command, "--help"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )


def test_the_listed_options_of_the_generator_are_its_defaults(database_url: str) -> None:
    (command,) = re.findall(
        r"^    (\.venv/bin/python scripts/generate_events\.py .*)$", README, re.M
    )
    done = subprocess.run(
        [sys.executable, *shlex.split(command)[1:]],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": database_url},
        check=True,
        capture_output=True,
        text=True,
    )
    plain = subprocess.run(
        [sys.executable, ROOT / "scripts" / "generate_events.py"],
        env=os.environ | {"DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=False,
    )
    # The same events again, which are there already.
    assert "5000" in done.stdout
    assert plain.returncode == 1
    assert "already" in plain.stderr


def test_docs_and_openapi_are_served(base_url: str) -> None:
    for path in ("/docs", "/openapi.json", "/"):
        assert httpx.get(f"{base_url}{path}", follow_redirects=True).is_success
