"""The service, but that nobody observes its requests: what ids, metrics and log lines cost.

`python -m loadtest.baselines.unobserved` serves it; settings are the service's.
"""

import logging

import structlog
from starlette.types import ASGIApp

from loadtest.baselines.unawaited import serve_until_a_signal
from service import app, server


def unobserved(inner: ASGIApp, **_: bool) -> ASGIApp:
    """Return an application as it is, in place of service.requests.Requests around it."""
    return inner


def silence(*_: object, **__: object) -> None:
    """Let nothing be logged, in place of service.logs.configure_logging()."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


if __name__ == "__main__":
    app.Requests = unobserved  # type: ignore[assignment,attr-defined]
    server.configure_logging = silence  # type: ignore[attr-defined]
    serve_until_a_signal()
