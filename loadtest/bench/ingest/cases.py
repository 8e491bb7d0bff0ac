"""What is measured: programs that take events, and what is sent to them."""

import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
BASELINES = ROOT / "build" / "baselines" / "bin" / "python"
"""Has the packages of textbook stacks too: requirements-baselines.lock."""

QUEUE_EVENTS = 20_000
"""As many as the service lets wait, by default: what is sent at once must not be more."""


@dataclass(frozen=True)
class Program:
    """What takes events. `{port}` in its command is the port that it has to serve."""

    what: str
    command: tuple[str, ...]
    stores: bool = True
    takes_ids: bool = True
    """Whether it takes ids that the sender chose."""
    python: str | Path = sys.executable


def _uvicorn(module: str) -> tuple[str, ...]:
    return (
        *("-m", "uvicorn", f"loadtest.baselines.{module}:app", "--port", "{port}"),
        *("--loop", "uvloop", "--http", "httptools", "--log-level", "warning"),
        *("--no-access-log", "--no-server-header"),
    )


GUNICORN = (
    *("-m", "gunicorn", "loadtest.baselines.flask_psycopg2:app", "--bind", "127.0.0.1:{port}"),
    *("--worker-class", "gthread", "--threads", "16", "--keep-alive", "60"),
    *("--worker-connections", "1100", "--log-level", "warning"),
)

ASGI = Program("plain ASGI, nothing stored", _uvicorn("plain_asgi"), stores=False)
ROUTE = Program("Starlette Route, nothing stored", _uvicorn("starlette_route"), stores=False)
FASTAPI = Program(
    "FastAPI + SQLAlchemy + asyncpg",
    _uvicorn("fastapi_sqlalchemy"),
    takes_ids=False,
    python=BASELINES,
)
POOL = Program("Starlette + psycopg pool", _uvicorn("starlette_pool"))
FLASK = Program("Flask + gunicorn + psycopg2", GUNICORN, python=BASELINES)
OURS = Program("ours", ("-m", "service", "serve"))
TWO_WORKERS = Program("ours, two workers", (*OURS.command, "--workers", "2"))
UNAWAITED = Program("ours, answered from memory", ("-m", "loadtest.baselines.unawaited"))
UNOBSERVED = Program("ours, not observed", ("-m", "loadtest.baselines.unobserved"))
COPY = Program("COPY by one connection", ())


@dataclass(frozen=True)
class Case:
    """A program, and the requests that it gets."""

    name: str
    program: Program
    batch: int = 1
    """Events in a request; one goes to POST /events."""
    gzip: bool = False

    def connections(self, most: int) -> int:
        """Return how many to send over, so that what is sent at once fits the service's queue."""
        return max(1, min(most, QUEUE_EVENTS // self.batch))


BATCHES = (10, 20, 100, 1000, 10_000)

CASES = {
    case.name: case
    for case in (
        Case("ceiling-asgi", ASGI),
        Case("ceiling-route", ROUTE),
        Case("fastapi-sqlalchemy", FASTAPI),
        Case("flask-psycopg2", FLASK),
        Case("starlette-pool", POOL),
        Case("ours", OURS),
        Case("unobserved", UNOBSERVED),
        Case("workers-2", TWO_WORKERS),
        *(Case(f"batch-{size}", OURS, size) for size in BATCHES),
        *(Case(f"gzip-{size}", OURS, size, gzip=True) for size in BATCHES),
        Case("workers-2-1000", TWO_WORKERS, 1000),
        Case("unawaited-20", UNAWAITED, 20),
        Case("copy-1000", COPY, 1000),
    )
}
