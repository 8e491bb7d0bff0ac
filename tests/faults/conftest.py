"""What stands between a service and its database, for every test of faults."""

from collections.abc import Iterator

import pytest

from tests.support.proxy import Proxy


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    """A network before the database."""
    with Proxy(database_url) as proxy:
        yield proxy
