"""The main job's Docker way, with a program in Docker's place that notes what it is asked for.

There is no Docker engine where the tests run; tests/test_image.py checks docker-compose.yml itself.
"""

import json
import os
from pathlib import Path

import pytest

from service.database import docker
from service.database.migrations import DatabaseError

STUB = """#!/bin/sh
echo "$*" >>"$DOCKER_ASKED"
case "$*" in
    "compose"*)
        [ ! -e "$DOCKER_ASKED.bare" ] || { echo "unknown shorthand flag: 'q'" >&2; exit 1; } ;;
esac
case "$*" in
    "compose ps"*) cat "$DOCKER_RUNNING" ;;
    "compose config"*) cat "$DOCKER_CONFIG" ;;
    "compose up"*)
        [ ! -e "$DOCKER_ASKED.broken" ] || { echo "port is already allocated" >&2; exit 1; } ;;
esac
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with what the program in Docker's place was asked for, a line each."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(STUB)
    program.chmod(0o755)
    config = {
        "services": {
            "db": {
                "ports": [{"published": "5499", "target": 5432}],
                "environment": {"POSTGRES_PASSWORD": "a/b@c"},
            }
        }
    }
    (tmp_path / "config").write_text(json.dumps(config))
    (tmp_path / "running").write_text("")
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_ASKED", str(tmp_path / "asked"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("DOCKER_RUNNING", str(tmp_path / "running"))
    return tmp_path / "asked"


def calls(asked: Path) -> list[str]:
    """Return the first two words of each call."""
    words = [" ".join(line.split()[:2]) for line in asked.read_text().splitlines()]
    return [call for call in words if call != "compose version"]


def test_what_was_started_is_stopped(asked: Path) -> None:
    with docker.database(fresh=False) as url:
        assert url == "postgresql://postgres:a%2Fb%40c@127.0.0.1:5499/tallymark"
        assert "compose stop" not in calls(asked)
    assert calls(asked) == ["compose ps", "compose up", "compose config", "compose stop"]


def test_what_ran_before_goes_on(asked: Path) -> None:
    (asked.parent / "running").write_text("0123456789ab\n")
    with docker.database(fresh=False):
        pass
    assert "compose stop" not in calls(asked)


def test_fresh_deletes_the_volumes_first(asked: Path) -> None:
    with docker.database(fresh=True):
        pass
    assert calls(asked)[0] == "compose down"
    assert "compose down --volumes" in asked.read_text().splitlines()


def test_a_database_that_does_not_start_is_one_plain_line(asked: Path) -> None:
    (asked.parent / "asked.broken").touch()
    refused = pytest.raises(DatabaseError, match=r"port is already allocated.*--database embedded")
    with refused, docker.database(fresh=False):
        pytest.fail("it has not started")
    assert calls(asked)[-1] == "compose stop"


def test_a_missing_compose_plugin_is_said(asked: Path) -> None:
    (asked.parent / "asked.bare").touch()
    refused = pytest.raises(DatabaseError, match=r"no compose plugin.*--database embedded")
    with refused, docker.database(fresh=False):
        pytest.fail("it has not started")


def test_a_missing_docker_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    refused = pytest.raises(DatabaseError, match=r"Docker does not answer: .*--database embedded")
    with refused, docker.database(fresh=False):
        pytest.fail("it has not started")


def test_no_docker_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not docker.answers()
