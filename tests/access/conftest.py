"""A service that asks for keys, and keys of two sites."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from service.access.keys import Kind
from service.access.records import records
from tests.support.services import running_service


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
    with (
        running_service(database_url=database_url, **settings) as base_url,
        httpx.Client(base_url=base_url, timeout=20) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def keys(shared_database_url: str) -> dict[str, str]:
    """The keys of the shared database."""
    return make_keys(shared_database_url)


@pytest.fixture(scope="module")
def asking(shared_database_url: str, keys: dict[str, str]) -> Iterator[httpx.Client]:
    """A client, without a key, of a service that asks for keys."""
    assert keys
    with asking_service(shared_database_url) as client:
        yield client
