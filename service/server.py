"""Serves the application with uvicorn on one socket, until SIGINT or SIGTERM."""

import errno
import gc
import math
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import cast

import structlog
import uvicorn
from starlette.types import ASGIApp

from service.app import create_app
from service.logs import configure_logging
from service.loitering import Loitering
from service.protocol import Protocol
from service.settings import Settings
from service.tracing import exporting

log = structlog.get_logger()

GC_OBJECTS = 50_000
"""So many more objects, and Python looks for cycles among them; 700 is its own idea."""


class ListenError(Exception):
    """The address can't be listened on; the text is one plain line that says what to do."""


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address, not listening yet. Raises ListenError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ListenError(
                f"Port {port} is taken by another program. Choose another: --port, or PORT."
            ) from None
        raise ListenError(f"Can't listen on {host} port {port}: {error.strerror}.") from None
    return listener


def exit_on_signals(status: int | str = 0) -> None:
    """Let SIGINT and SIGTERM end this process by SystemExit, so that what is open is closed.

    A status that is a text is printed, and means a failure.

    uvicorn replaces the handlers while it serves, and sends the signal on once it has stopped.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(status))


def serve(
    settings: Settings,
    listener: socket.socket,
    ready: Callable[[], None],
    *,
    worker: int | None = None,
    migrated: bool = True,
) -> None:
    """Serve until a signal; what is in flight is answered first. Calls `ready` once it serves.

    Where the database could not be reached for it, it is migrated as soon as it can be.
    """
    configure_logging(settings, worker=worker)
    _open_many()
    with exporting():
        app = create_app(settings, migrated=migrated)

        def note_serving() -> None:
            address, port = listener.getsockname()[:2]
            away = app.state.writer.away is not None
            log.info("serving", address=address, port=port, pid=os.getpid(), database_away=away)
            ready()

        Server(configuration(app, settings), note_serving).run(sockets=[listener])


def configuration(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """Return how an application is served."""
    loitering = Loitering(
        head_seconds=settings.head_seconds,
        idle_seconds=settings.idle_seconds,
        new_connections=settings.new_connections,
    )
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=cast("type[Protocol]", partial(Protocol, loitering=loitering)),
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # service/app.py sees to them, where a proxy is trusted.
        timeout_graceful_shutdown=math.ceil(settings.shutdown_seconds),
    )


def _open_many() -> None:
    """Let this process hold as many connections as it may; the usual limit is for select()."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # There are systems that say more than they allow.
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _collect_seldom() -> None:
    """Let Python look for cycles seldom, and never among what lives as long as the process.

    Requests leave none, but each look at the requests under way takes its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_OBJECTS)


class Server(uvicorn.Server):
    """uvicorn's server, which says when it serves, and when no longer."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        _collect_seldom()
        if not self.should_exit:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to listen, and return once what is in flight is answered, and all is closed."""
        await super().shutdown(sockets)
        log.info("stopped", pid=os.getpid())
