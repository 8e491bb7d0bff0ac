"""What an operator can mend is said in one plain line, with an exit status that is not 0."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run_service(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=ROOT,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """See that it failed, in one line that says these words."""
    assert done.returncode == 1, done
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("tallymark: ")
    for word in words:
        assert word in lines[0]


def test_no_database_url() -> None:
    assert_one_line(run_service("serve"), "DATABASE_URL", "not set")
    assert_one_line(run_service("migrate"), "DATABASE_URL", "not set")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "70000"),
        ("DATABASE_URL", "mysql://127.0.0.1/"),
        ("INGEST_QUEUE_EVENTS", "0"),
        ("INGEST_DEADLINE_SECONDS", "nan"),
        ("LOG_LEVEL", "loud"),
        ("SPOOL_DIRECTORY", ""),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    environment = {"DATABASE_URL": "postgresql://127.0.0.1:1/x", name: value}
    assert_one_line(run_service("serve", **environment), f"setting {name} is wrong")


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_an_unreachable_database(command: str) -> None:
    url = "postgresql://postgres@127.0.0.1:1/tallymark"
    # With a spool it serves without its database: tests/http/test_outage.py.
    done = run_service(command, DATABASE_URL=url, PORT="0", SPOOL_BYTES="0")
    assert_one_line(done, "can't be reached", "DATABASE_URL")


def test_a_spool_that_can_t_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    url = "postgresql://127.0.0.1:1/x"
    spool = str(tmp_path / "file" / "spool")
    done = run_service("serve", DATABASE_URL=url, PORT="0", SPOOL_DIRECTORY=spool)
    assert done.returncode == 1
    # The first line says that there is no database either.
    _, line = done.stderr.splitlines()
    assert all(part in line for part in (spool, "SPOOL_DIRECTORY", "SPOOL_BYTES=0"))


def test_a_taken_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        url = "postgresql://127.0.0.1:1/x"
        done = run_service("serve", DATABASE_URL=url, PORT=port)
        assert_one_line(done, f"Port {port} is taken", "--port")
        assert_one_line(run_service("run", "--port", port), f"Port {port} is taken")


@pytest.mark.parametrize("database", ["oracle", "mysql://127.0.0.1/x", "postgresql://[::1/x"])
def test_an_unknown_kind_of_database(database: str) -> None:
    assert_one_line(run_service("run", "--port", "0", "--database", database), "--database")


def test_a_password_in_another_form_of_address_is_not_shown() -> None:
    done = run_service("run", "--port", "0", DATABASE_URL="host=127.0.0.1 password=secret")
    assert_one_line(done, "DATABASE_URL")
    assert "secret" not in done.stdout + done.stderr


def test_fresh_spares_a_database_that_was_given() -> None:
    url = "postgresql://postgres@127.0.0.1:1/tallymark"
    assert_one_line(run_service("run", "--port", "0", "--database", url, "--fresh"), "--fresh")
