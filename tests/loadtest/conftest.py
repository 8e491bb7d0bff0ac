"""A service for Locust to load."""

from collections.abc import Iterator

import pytest

from tests.support.services import running_service


@pytest.fixture
def host(database_url: str) -> Iterator[str]:
    """A service on a fresh database."""
    with running_service(database_url=database_url) as base_url:
        yield base_url
