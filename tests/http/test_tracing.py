"""Traces: what an OTLP collector on loopback receives of a service, and nothing without one."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.http.support import event
from tests.support.services import ROOT, ServiceProcess

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "s3cret-7f1d"


class Collector:
    """What was received."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.url = ""

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for body in list(self.bodies)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def named(self, name: str) -> Span:
        """Return the first span of a name, once there is one."""
        deadline = time.monotonic() + 60
        while not (found := [span for span in self.spans if span.name == name]):
            assert time.monotonic() < deadline, [span.name for span in self.spans]
            time.sleep(0.05)
        return found[0]


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector of traces."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces":
                collector.bodies.append(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def traced(
    database_url: str, folder: Path, endpoint: str, **variables: str
) -> Iterator[ServiceProcess]:
    """Have a service run that sends its traces somewhere."""
    process = ServiceProcess(
        database_url,
        folder / "log",
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        OTEL_EXPORTER_OTLP_COMPRESSION="none",
        OTEL_BSP_SCHEDULE_DELAY="100",
        **variables,
    )
    with process.running():
        yield process


def attributes(span: Span) -> dict[str, str]:
    return {one.key: one.value.string_value or str(one.value.int_value) for one in span.attributes}


def test_requests_counts_and_flushes_are_spans(
    database_url: str, tmp_path: Path, collector: Collector
) -> None:
    parent = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    with traced(database_url, tmp_path, collector.url) as process:
        body = event(SECRET, url=SECRET)
        sent = httpx.post(f"{process.base_url}/events", json=body, headers=parent, timeout=60)
        assert sent.status_code == 202
        httpx.get(
            f"{process.base_url}/analytics/event-counts?tz={SECRET}", headers=parent, timeout=60
        )
        httpx.get(
            f"{process.base_url}/analytics/event-counts?site=2", headers=parent, timeout=60
        ).raise_for_status()
        post, count = collector.named("POST /events"), collector.named("count")
        assert attributes(collector.named("flush")) == {"events": "1"}
        request = collector.named("GET /analytics/event-counts")
    assert {post.trace_id.hex(), request.trace_id.hex(), count.trace_id.hex()} == {TRACE}
    assert post.parent_span_id.hex() == request.parent_span_id.hex() == PARENT
    gets = [span for span in collector.spans if span.name == "GET /analytics/event-counts"]
    assert count.parent_span_id in {span.span_id for span in gets}
    assert attributes(post) == {
        "http.request.method": "POST",
        "http.response.status_code": "202",
        "http.route": "/events",
        "tallymark.request_id": sent.headers["x-request-id"],
    }
    assert SECRET.encode() not in b"".join(collector.bodies)


def test_a_collector_that_is_away_is_in_nobodys_way(database_url: str, tmp_path: Path) -> None:
    with traced(database_url, tmp_path, "http://127.0.0.1:9") as process:
        for _ in range(20):
            answer = httpx.post(f"{process.base_url}/events", json=event(), timeout=60)
            assert answer.status_code == 202
        assert process.terminate(60) == 0


def test_a_stop_does_not_wait_for_a_collector_that_never_answers(
    database_url: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        deaf.settimeout(60)
        endpoint = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        # It alone would hold up a stop for 30 seconds.
        patient = {"OTEL_EXPORTER_OTLP_TIMEOUT": "600"}
        with traced(database_url, tmp_path, endpoint, **patient) as process:
            answer = httpx.post(f"{process.base_url}/events", json=event(), timeout=60)
            assert answer.status_code == 202
            taken, _ = deaf.accept()
            with taken:
                assert taken.recv(4) == b"POST"
                assert process.terminate(20) == 0
    assert "the last traces are not sent" in (tmp_path / "log").read_text()


def test_without_an_endpoint_nothing_of_it_is_loaded() -> None:
    code = (
        "import sys; from service.app import create_app; from service.settings import Settings; "
        "create_app(Settings(database_url='postgresql://127.0.0.1/none')); "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
