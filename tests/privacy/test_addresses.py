"""No address of a sender is kept: not in a table, not in the log, not in the spool."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import sql

from tests.http.support import event
from tests.support.services import ServiceProcess

CANARY = "203.0.113.77"
"""Of a network that is nobody's (RFC 5737)."""
HEADERS = {
    "X-Forwarded-For": f"{CANARY}, 10.0.0.1",
    "X-Real-IP": CANARY,
    "Forwarded": f"for={CANARY};proto=https",
    "CF-Connecting-IP": CANARY,
    "True-Client-IP": CANARY,
}
TABLES = """
select oid::regclass::text from pg_class
where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace
"""


@pytest.fixture
def service(database_url: str, tmp_path: Path) -> Iterator[ServiceProcess]:
    """A service that logs all that it can."""
    settings = {"LOG_LEVEL": "debug", "LOG_INGEST_REQUESTS": "true", "LOG_FORMAT": "json"}
    with ServiceProcess(database_url, tmp_path / "log", **settings).running() as service:
        yield service


def contents(url: str) -> str:
    """Return all that is in the tables, as text."""
    with psycopg.connect(url) as connection:
        names = [name for (name,) in connection.execute(TABLES).fetchall()]
        assert {"events", "rejected_events", "ingest_minutes"} <= set(names)
        query = sql.SQL("select row_to_json(one)::text from {} as one")
        return "\n".join(
            row[0]
            for name in names
            for row in connection.execute(query.format(sql.Identifier(name))).fetchall()
        )


def test_the_address_of_a_sender_is_kept_nowhere(
    service: ServiceProcess, database_url: str, tmp_path: Path
) -> None:
    with httpx.Client(base_url=service.base_url, headers=HEADERS, timeout=20) as client:
        assert client.post("/events", json=event("here")).status_code == 202
        assert client.post("/events/batch", json=[event("here")]).status_code == 202
        assert client.post("/events", json={}).status_code == 400
        assert client.post("/events", content=b"", headers={"Content-Type": "a/b"}).is_error
        assert client.get("/analytics/event-counts").status_code == 200
        assert client.get("/none").status_code == 404
    assert service.terminate() == 0
    log = (tmp_path / "log").read_text()
    assert log.count('"status":') + log.count('"status": ') >= 5
    kept = contents(database_url)
    assert "here" in kept
    assert CANARY not in kept
    assert CANARY not in log
