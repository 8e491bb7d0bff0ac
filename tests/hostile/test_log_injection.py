"""Control characters that strangers send forge no line and no colour, in either form of the log."""

import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
import structlog

from service.logs import configure_logging
from service.settings import Settings
from tests.http.support import event, exchange
from tests.support.services import ServiceProcess

FORGED = "\r\n2026-01-01T00:00:00Z [info] forged\x1b[31m\x07\x7f\x85\u2028\u202e"
RAW = FORGED.encode()
PLAIN = re.compile(r"[\x20-\x7e]*")


@pytest.fixture(scope="module", params=["json", "console"])
def process(
    request: pytest.FixtureRequest,
    shared_database_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[httpx.Client, Path]]:
    """A service as a process of its own, and the file that it logs to in one of the forms."""
    log = tmp_path_factory.mktemp("log") / "log"
    process = ServiceProcess(shared_database_url, log, LOG_FORMAT=request.param, LOG_LEVEL="debug")
    with process.running(), httpx.Client(base_url=process.base_url, timeout=20) as client:
        yield client, log


def lines_of(process: tuple[httpx.Client, Path], marker: str) -> list[str]:
    """Return all lines that were logged, once that of a last request is there."""
    client, log = process
    client.get("/nowhere", headers={"X-Request-ID": marker})
    deadline = time.monotonic() + 20
    while marker not in (text := log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return text.split("\n")


def test_nothing_that_is_sent_forges_a_line(process: tuple[httpx.Client, Path]) -> None:
    client, _ = process
    client.get("/" + "".join(f"%{byte:02x}" for byte in RAW))
    client.get("/analytics/event-counts", params={FORGED: FORGED, "tz": FORGED})
    client.get("/events", params={"cursor": FORGED, "user_id": FORGED})
    client.post("/events", json=event(FORGED, **{FORGED: FORGED}))
    client.post("/events", json=event() | {FORGED: 1, "event_type": FORGED})
    client.post("/events", content=RAW)
    client.post("/events/batch", content=RAW, headers={"Content-Encoding": "gzip"})
    for name in (b"X-Request-ID", b"User-Agent", b"Origin", b"Content-Type", b"traceparent"):
        for value in (RAW, b"\x7f\x85", b"\xff"):
            line = name + b": " + value + b"\r\nConnection: close\r\n\r\n"
            exchange(client.base_url, b"GET /nowhere HTTP/1.1\r\nHost: x\r\n" + line)
    for sent in (RAW, b"GET /" + RAW, RAW + b" / HTTP/1.1\r\n\r\n"):
        exchange(client.base_url, sent + b"\r\n\r\n")
    lines = lines_of(process, "all-was-sent")
    assert all(PLAIN.fullmatch(line) for line in lines)
    assert not any(line.lstrip().startswith("2026-01-01T00:00:00Z") for line in lines)


def test_nor_does_what_the_database_says(
    process: tuple[httpx.Client, Path], shared_database_url: str
) -> None:
    client, _ = process
    with psycopg.connect(shared_database_url, autocommit=True) as database:
        database.execute("alter function event_counts rename to event_counts_elsewhere")
        try:
            assert client.get("/analytics/event-counts").status_code == 500
        finally:
            database.execute("alter function event_counts_elsewhere rename to event_counts")
    lines = lines_of(process, "the-database-spoke")
    assert any("Traceback" in line for line in lines)
    assert all(PLAIN.fullmatch(line) for line in lines)


@pytest.mark.parametrize("form", ["json", "console"])
def test_what_libraries_and_exceptions_say_is_escaped(
    form: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = logging.root.handlers[:]
    level = logging.root.level
    monkeypatch.setenv("LOG_FORMAT", form)
    configure_logging(Settings(database_url="postgresql://127.0.0.1/none"))
    try:
        logging.getLogger("uvicorn.error").warning("Invalid: %s", FORGED)
        structlog.get_logger().error(FORGED, value=FORGED, many=[FORGED], error=ValueError(FORGED))
        try:
            raise ValueError(FORGED)
        except ValueError:
            structlog.get_logger().exception("failed")
    finally:
        structlog.reset_defaults()
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
    written = capsys.readouterr().err.split("\n")
    assert all(PLAIN.fullmatch(line) for line in written)
    if form == "json":
        assert len(written) == 4  # The last is empty.
