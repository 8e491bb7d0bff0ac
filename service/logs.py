"""Structured logs: one line an entry, to the console, without characters that control one."""

import io
import json
import logging
import re
import sys
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog

from service.settings import Settings

_UNSAFE = re.compile(r"[^\x20-\x7e]")
_UNSAFE_IN_LINES = re.compile(r"[^\x20-\x7e\n]")


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
            colors=sys.stderr.isatty(), exception_formatter=_print_traceback, repr_native_str=True
        )
        if console
        else structlog.processors.JSONRenderer(_as_json)
    )
    structlog.configure(
        processors=[
            *([] if worker is None else [_named(worker)]),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if console else [structlog.processors.format_exc_info]),
            _with_plain_event,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Console())),
        cache_logger_on_first_use=True,
    )
    # What libraries say (uvicorn) is of interest when something is wrong.
    logging.basicConfig(handlers=[_Passing()], level=logging.WARNING, force=True)
    logging.getLogger("uvicorn.error").addFilter(_is_not_told_elsewhere)
    # These warn of each attempt to connect; an outage is told once, by who asks (service/health.py,
    # service/ingest/presence.py).
    for library in ("psycopg", "psycopg_pool"):
        logging.getLogger(library).setLevel(logging.ERROR)


def _escaped(text: str, pattern: re.Pattern[str] = _UNSAFE) -> str:
    return pattern.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _with_plain_event(
    _: Any, __: str, entry: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    # Of the rest the renderers take care.
    entry["event"] = _escaped(str(entry["event"]))
    return entry


def _as_json(entry: Any, **options: Any) -> str:
    # JSON allows this one character as it is.
    return json.dumps(entry, **options).replace("\x7f", "\\u007f")


def _print_traceback(output: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    plain = io.StringIO()
    structlog.dev.plain_traceback(plain, exc_info)
    output.write(_escaped(plain.getvalue(), _UNSAFE_IN_LINES))


def _named(worker: int) -> structlog.typing.Processor:
    def name(_: Any, __: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
        entry["worker"] = worker
        return entry

    return name


def _is_not_told_elsewhere(record: logging.LogRecord) -> bool:
    # The protocol says why it is none (service/refusals.py).
    return record.msg != "Invalid HTTP request received."


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
