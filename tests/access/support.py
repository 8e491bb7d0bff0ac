"""What the tests of access share."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]


def command(database_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the service to its end."""
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def done(database_url: str, *arguments: str) -> str:
    """Return what a command that succeeds prints."""
    ended = command(database_url, *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def refused(database_url: str, *arguments: str) -> str:
    """Return the one line of a command that fails."""
    ended = command(database_url, *arguments)
    assert ended.returncode == 1, ended
    (line,) = ended.stderr.strip().splitlines()
    return line.removeprefix("tallymark: ")


def auth(key: str) -> dict[str, str]:
    """Return the header that shows a key."""
    return {"Authorization": f"Bearer {key}"}


def eventually(is_so: Callable[[], bool], seconds: float = 30) -> None:
    """Return once something is so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)
