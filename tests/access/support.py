"""What the tests of access share."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from service.access.keys import Kind
from service.access.records import records
from tests.support.services import ROOT, service_client


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


def make_keys(database_url: str) -> dict[str, str]:
    """Return keys of sites 1 and 2, and of all, by kind and site."""
    wanted: list[tuple[Kind, int | None]] = [("write", 1), ("write", 2)]
    wanted += [("read", 1), ("read", 2), ("read", None)]
    wanted += [("admin", 1), ("admin", 2), ("admin", None)]
    with records(database_url) as known:
        known.create_site("second")
        return {
            f"{kind} {site or 'all'}": known.create_key(kind, site, "") for kind, site in wanted
        }


@contextmanager
def asking_service(database_url: str, **settings: Any) -> Iterator[httpx.Client]:
    """Yield a client of a service that asks for keys, and shows none yet."""
    settings = {"keys_required": True, "keys_refresh_seconds": 0.2, "users_api": True} | settings
    with service_client(database_url=database_url, **settings) as client:
        yield client
