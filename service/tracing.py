"""Traces by OpenTelemetry, where OTEL_EXPORTER_OTLP_ENDPOINT names what collects them.

Nothing of an event or a query is told. What other variables say, such as OTEL_SERVICE_NAME and
OTEL_TRACES_SAMPLER, OpenTelemetry reads itself.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

log = structlog.get_logger()

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"

TRACER = "tallymark"
SHUTDOWN_SECONDS = 2.0
"""What the last spans may take to be sent; OpenTelemetry would wait for half a minute."""

_provider: "TracerProvider | None" = None


def is_on() -> bool:
    """Return whether spans go anywhere."""
    return _provider is not None


@contextmanager
def exporting() -> Iterator[None]:
    """Let spans be sent while it is entered, if a collector is named; a log line says why not."""
    global _provider
    _provider = _new_provider() if os.environ.get(ENDPOINT) else None
    try:
        yield
    finally:
        if _provider is not None:
            _shut_down(_provider)
            _provider = None


def span(name: str, **attributes: int | str) -> AbstractContextManager[object]:
    """Return a context that is told as a span, within the span that it is entered in."""
    if _provider is None:
        return _NOTHING
    tracer = _provider.get_tracer(TRACER)
    return tracer.start_as_current_span(name, attributes=attributes)


@contextmanager
def request_span(method: str, parent: str) -> Iterator["RequestSpan"]:
    """Tell of a request, within the span that `parent` names as a traceparent.

    Raises RuntimeError where spans go nowhere.
    """
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if _provider is None:
        raise RuntimeError("there are no traces")
    context = TraceContextTextMapPropagator().extract({"traceparent": parent})
    with _provider.get_tracer(TRACER).start_as_current_span(
        method, context, SpanKind.SERVER, {"http.request.method": method}
    ) as span:
        yield RequestSpan(method, span)


class RequestSpan:
    """What is known of a request only later."""

    def __init__(self, method: str, span: "Span") -> None:
        self._method = method
        self._span = span

    def answered(self, status: int) -> None:
        """Note the status."""
        self._span.set_attribute("http.response.status_code", status)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._span.set_attribute("error.type", str(status))

    def served_by(self, route: str, request_id: str) -> None:
        """Note the route, and the id that the log has, too."""
        self._span.update_name(f"{self._method} {route}")
        self._span.set_attributes({"http.route": route, "tallymark.request_id": request_id})


def _shut_down(provider: "TracerProvider") -> None:
    """Send what is left, unless the collector takes too long: a stop does not wait for it."""
    sending = threading.Thread(target=provider.shutdown, name="last traces", daemon=True)
    sending.start()
    sending.join(SHUTDOWN_SECONDS)
    if sending.is_alive():
        log.warning("the last traces are not sent", reason="the collector does not answer")


def _new_provider() -> "TracerProvider | None":
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        reason = "OpenTelemetry is not installed: see requirements-otel.lock"
        log.error("traces are not sent", reason=reason)
        return None
    name = os.environ.get("OTEL_SERVICE_NAME", "tallymark")
    provider = TracerProvider(
        resource=Resource.create({SERVICE_NAME: name}),
        # It is done by exporting(), which does not wait for long.
        shutdown_on_exit=False,
    )
    try:
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    except ValueError as error:
        log.error("traces are not sent", reason=f"a variable OTEL_… is wrong: {error}")
        return None
    return provider


_NOTHING = nullcontext()
