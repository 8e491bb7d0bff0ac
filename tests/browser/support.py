"""The demo as a visitor and the database see it, and a server of its files on another origin."""

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import (
    BrowserContext,
    ConsoleMessage,
    Geolocation,
    Locator,
    Page,
    Request,
    expect,
)

from service.pages import CLIENT
from tests.support.databases import Database

BERLIN: Geolocation = {"latitude": 52.52, "longitude": 13.405, "accuracy": 12.5}
WAIT_MILLISECONDS = 20_000

expect.set_options(timeout=WAIT_MILLISECONDS)


FAILED_REQUEST = re.compile(r"Failed to load resource|blocked by CORS policy")


class Console:
    """Errors, uncaught exceptions and warnings of all pages and workers of a browser."""

    def __init__(self) -> None:
        self._messages: list[str] = []
        self._expected: list[re.Pattern[str]] = []

    def watch(self, context: BrowserContext) -> None:
        """Note what a browser writes from now on."""
        context.on("console", self._note)
        context.on("weberror", lambda error: self._messages.append(str(error.error)))

    def expect(self, *patterns: re.Pattern[str]) -> None:
        """Take messages like these for what the test provokes."""
        self._expected += patterns

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._messages.append(message.text)

    @property
    def unexpected(self) -> list[str]:
        """What should not be there."""
        return [
            text
            for text in self._messages
            if not any(pattern.search(text) for pattern in self._expected)
        ]


class Demo:
    """A tab with the demo."""

    def __init__(self, page: Page, database: Database, base_url: str) -> None:
        self.page = page
        self.base_url = base_url
        self._database = database

    def open(self, url: str = "/demo/") -> "Demo":
        """Open it, where it is served by the service itself unless another URL is given."""
        self.page.goto(url if "://" in url else f"{self.base_url}{url}")
        return self

    def in_another_tab(self) -> "Demo":
        """Return the demo in a new tab of the same browser, not opened yet."""
        return Demo(self.page.context.new_page(), self._database, self.base_url)

    def click(self) -> None:
        """Press the button that sends a click."""
        self.page.locator("#click-me").click()

    def locate(self) -> None:
        """Press the button that sends the location."""
        self.page.locator("#get-location").click()

    def events(self, state: str) -> Locator:
        """Return the events that are shown in a state."""
        return self.page.locator(f"#events li[data-state={state}]")

    def expect_stored(self, count: int) -> None:
        """Wait until so many events are shown as stored, and none as anything else."""
        expect(self.events("stored")).to_have_count(count)
        expect(self.page.locator("#events li")).to_have_count(count)

    def expect_said(self, text: str | re.Pattern[str]) -> None:
        """Wait until the page says something."""
        expect(self.page.locator("#said")).to_contain_text(text)

    def expect_sender(self, text: str) -> None:
        """Wait until the page says by whom it sends."""
        expect(self.page.locator("#sender")).to_contain_text(text)

    def rows(self) -> list[tuple[str, dict[str, Any]]]:
        """Return type and payload of every stored event, oldest first."""
        query = "select event_type::text, payload from events order by timestamp, event_id"
        return [(kind, payload) for kind, payload in self._database.execute(query)]

    def types(self) -> list[str]:
        """Return the types of all stored events, oldest first."""
        return [kind for kind, _ in self.rows()]


def posts_of(context: BrowserContext, kind: str | None = None) -> list[Request]:
    """Return the list of what pages and workers POST from now on; it grows.

    Of one kind only, if that is given: "fetch" are no beacons.
    """
    posts: list[Request] = []

    def note(request: Request) -> None:
        if request.method == "POST" and kind in (None, request.resource_type):
            posts.append(request)

    context.on("request", note)
    return posts


def shift_clock(context: BrowserContext, offset: timedelta) -> None:
    """Let the clock of all pages be wrong."""
    milliseconds = round(offset.total_seconds() * 1000)
    context.add_init_script(
        f"const now = Date.now.bind(Date); Date.now = () => now() + {milliseconds};"
    )


@contextmanager
def client_server(folder: Path, held: threading.Event | None = None) -> Iterator[str]:
    """Yield the URL of a folder's files on a port of their own, as `python -m http.server` has.

    service-worker.js is sent once `held` is set, if it is given.
    """

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if held is not None and self.path == "/service-worker.js":
                held.wait(60)
            super().do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        if held is not None:
            held.set()
        server.shutdown()
        server.server_close()


def copy_of_client(folder: Path) -> Path:
    """Return a copy of client/ that a test may change."""
    return Path(shutil.copytree(CLIENT, folder / "client"))
