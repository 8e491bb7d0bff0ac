"""A browser for these tests alone, and pages whose console must stay free of errors."""

import os
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.chromium import MISSING, find_chromium, running_chromium
from tests.browser.dashboard import NOW, Dashboard
from tests.browser.support import Console, Demo
from tests.support.databases import Database
from tests.support.services import running_service


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip where there is no Chromium; in CI that is a failure."""
    if item.get_closest_marker("browser") is None or find_chromium() is not None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(MISSING)
    pytest.skip(MISSING)


# Not for the session, as pytest-playwright's is: while it runs, asyncio.run() does not work.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    executable = find_chromium()
    assert executable is not None
    with running_chromium(executable) as browser:
        yield browser


@pytest.fixture
def console() -> Iterator[Console]:
    """What the browser complains of: at the end of a test, of nothing that it did not expect."""
    console = Console()
    yield console
    assert console.unexpected == []


@pytest.fixture
def context(browser: Browser, console: Console) -> Iterator[BrowserContext]:
    """A browser with no history."""
    with browser.new_context() as context:
        console.watch(context)
        yield context


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A tab."""
    return context.new_page()


@pytest.fixture
def demo(page: Page, service: httpx.Client, database: Database, no_events: None) -> Demo:
    """The demo in a tab, not opened yet, and the empty table that its events go to."""
    return Demo(page, database, str(service.base_url))


@pytest.fixture(scope="module")
def patient_service(shared_database_url: str) -> Iterator[str]:
    """The URL of a service that takes its time: the embedded database has one session."""
    with running_service(database_url=shared_database_url, read_deadline_seconds=60) as base_url:
        yield base_url


@pytest.fixture
def dashboard(page: Page, patient_service: str) -> Dashboard:
    """The dashboard in a tab, not opened yet, at a moment that stays."""
    page.clock.set_fixed_time(NOW)
    return Dashboard(page, patient_service)


# For the module, so that it ends after the pages that it serves.
@pytest.fixture(scope="module")
def open_service(shared_database_url: str) -> Iterator[str]:
    """The URL of a service that allows every origin."""
    with running_service(database_url=shared_database_url, cors_allowed_origins="*") as base_url:
        yield base_url
