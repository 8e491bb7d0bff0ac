"""Structured logs: one line an entry, to the console."""

import logging
import sys
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog

from service.settings import Settings


def configure_logging(settings: Settings, *, worker: int | None = None) -> None:
    """Send the service's log to stderr in the form that the settings ask for.

    Each entry bears the number of the worker, if it is one of several.
    """
    level = getattr(logging, settings.log_level.upper())
    console = settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(
            exception_formatter=structlog.dev.plain_traceback, repr_native_str=True
        )
        if console
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            *([] if worker is None else [_named(worker)]),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if console else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Console())),
        cache_logger_on_first_use=True,
    )
    # What libraries say (uvicorn) is of interest when something is wrong.
    logging.basicConfig(handlers=[_Passing()], level=logging.WARNING, force=True)
    # These warn of each attempt to connect; an outage is told once, by who asks (service/health.py,
    # service/ingest/presence.py).
    for library in ("psycopg", "psycopg_pool"):
        logging.getLogger(library).setLevel(logging.ERROR)


def _named(worker: int) -> structlog.typing.Processor:
    def name(_: Any, __: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
        entry["worker"] = worker
        return entry

    return name


class _Console:
    """stderr, without which the service goes on: a full disk behind it must not stop ingest."""

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


class _Passing(logging.Handler):
    """Passes records of the standard library's logging on to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info
        )
