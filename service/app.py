"""The application: routes, what is open while it runs, and how errors are answered."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import datetime
from ipaddress import ip_network
from typing import Any, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ExceptionHandler
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from service import (
    analytics,
    documentation,
    health,
    ingest,
    pages,
    privacy,
    reading,
    scraping,
    snippet,
    tracing,
)
from service.access.access import Access
from service.database.connections import read_pool
from service.database.preparation import migrating
from service.database.retention import refresh_beside
from service.ingest.minutes import MinuteReports, Minutes
from service.ingest.replay import Replay
from service.ingest.spool import Spool
from service.ingest.store import Store
from service.ingest.writer import Writer
from service.measured import Measured
from service.problems import Problem
from service.reading.exports import Exports
from service.requests import (
    REQUEST_ID,
    Direct,
    Failures,
    Requests,
    answer_http_exception,
    answer_problem,
)
from service.rounding import rounding
from service.settings import Settings
from service.traced import Traced


def create_app(settings: Settings, *, migrated: bool = True) -> Starlette:
    """Return the application; it opens its connections when it starts.

    Where the database could not be reached for it, the schema is brought up to date behind it.
    """
    access = Access(settings)
    spool = _spool(settings)
    minutes = Minutes(spool_bytes=lambda: 0 if spool is None else spool.bytes)
    writer = Writer(
        _store(settings),
        minutes,
        spool,
        groups=settings.ingest_connections,
        queue_events=settings.ingest_queue_events,
        queue_bytes=settings.ingest_queue_bytes,
        deadline_seconds=settings.ingest_deadline_seconds,
    )
    pool = read_pool(
        settings.reads_from,
        connections=settings.read_connections,
        deadline_seconds=settings.read_deadline_seconds,
    )
    exports = Exports(
        settings.reads_from,
        connections=settings.export_connections,
        deadline_seconds=settings.export_deadline_seconds,
    )

    freshness = health.Freshness(pool)
    measured = Measured()
    gauges = scraping.Gauges(pool, freshness, writer, spool, measured)

    parts: list[AbstractAsyncContextManager[Any]] = [
        pool,
        freshness.asked_regularly(),
        gauges.measured_regularly(),
        *access.parts,
    ]
    if not migrated:
        parts.append(
            migrating(
                settings.database_url, settings.retention_days, settings.migration_database_url
            )
        )
    reports = MinuteReports(minutes, settings.database_url)
    if spool is None:
        parts.append(reports)
    else:
        # The last minute tells what is left in the spool.
        parts += (spool, reports, _replay(settings, spool, writer, minutes))
    parts.append(writer)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for part in parts:
                await stack.enter_async_context(part)
            yield

    ingesting = ingest.routes(
        writer,
        access,
        waiting_bytes=settings.ingest_queue_bytes,
        rounded=rounding(settings.location_decimals),
    )
    seconds = settings.read_deadline_seconds
    app = Starlette(
        routes=[
            *ingesting,
            *access.require("read", analytics.routes(pool, deadline_seconds=seconds)),
            *access.require("read", reading.routes(pool, exports, deadline_seconds=seconds)),
            *access.require("admin", privacy.routes(settings, exports)),
            *health.routes(writer, spool, freshness),
            *access.require("read", scraping.routes(gauges), every_site=True),
            *documentation.routes(keys_required=bool(settings.keys_required)),
            *access.behind_login(pages.routes(login=bool(settings.keys_required))),
            *snippet.routes(),
        ],
        middleware=[
            *([Middleware(Traced)] if tracing.is_on() else []),
            *_proxies(settings.trusted_proxies),
            Middleware(
                Requests, measured=measured, log_ingest_requests=settings.log_ingest_requests
            ),
            *_cors(settings.cors_allowed_origins),
            Middleware(Failures),
            Middleware(Direct, route=ingesting[0]),
        ],
        exception_handlers={
            Problem: cast("ExceptionHandler", answer_problem),
            HTTPException: cast("ExceptionHandler", answer_http_exception),
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.writer = writer
    return app


def _spool(settings: Settings) -> Spool | None:
    if settings.spool_bytes == 0:
        return None
    return Spool(settings.spool_directory, limit_bytes=settings.spool_bytes)


def _store(settings: Settings) -> Store:
    return Store(settings.database_url, deadline_seconds=settings.ingest_deadline_seconds)


def _replay(settings: Settings, spool: Spool, writer: Writer, minutes: Minutes) -> Replay:
    async def refresh(start: datetime, end: datetime) -> None:
        await refresh_beside(settings.database_url, start, end)

    return Replay(spool, _store(settings), known=writer, minutes=minutes, refresh=refresh)


def _proxies(trusted: tuple[str, ...]) -> list[Middleware]:
    if not trusted:
        return []
    hosts = [*trusted, *_mapped(trusted)]
    return [Middleware(cast("Any", ProxyHeadersMiddleware), trusted_hosts=hosts)]


def _mapped(trusted: tuple[str, ...]) -> Iterator[str]:
    """Yield addresses of IPv4 as a socket has them that listens on both (HOST=::)."""
    for network in map(ip_network, trusted):
        if network.version == 4:
            yield f"::ffff:{network.network_address}/{96 + network.prefixlen}"


def _cors(origins: tuple[str, ...]) -> list[Middleware]:
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=("GET", "HEAD", "POST"),
            # Batches may be compressed.
            allow_headers=(REQUEST_ID, "Authorization", "Content-Encoding"),
            # By Date a sender corrects its clock.
            expose_headers=(REQUEST_ID, "Retry-After", "Date"),
        )
    ]
