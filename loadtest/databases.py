"""A fresh database to measure on."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.database.embedded import EmbeddedDatabase
from service.database.migrations import migrate
from tests.support.databases import new_database


@contextmanager
def fresh_database() -> Iterator[tuple[str, str]]:
    """Yield the URL of a new database with the schema, and what server it is on."""
    given = os.environ.get("DATABASE_URL")
    if given is None:
        with tempfile.TemporaryDirectory() as folder, EmbeddedDatabase(Path(folder)) as server:
            migrate(server.url)
            yield server.url, "the embedded server"
        return
    with new_database(given) as url:
        migrate(url)
        yield url, "the server of DATABASE_URL"
