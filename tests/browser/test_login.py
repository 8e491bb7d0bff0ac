"""The login in a browser: without JavaScript, for everybody, and when a key ends meanwhile."""

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from service.access.keys import id_of
from service.access.records import records
from tests.access.support import asking_service
from tests.browser.support import FAILED_REQUEST, Console
from tests.browser.test_looks import NARROWEST, SCHEMES, SCREENSHOTS, Scheme, assert_accessible

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def asking(shared_database_url: str) -> Iterator[httpx.Client]:
    """A service that asks for keys."""
    with asking_service(shared_database_url) as client:
        yield client


@pytest.fixture
def key(shared_database_url: str) -> str:
    """A key that reads."""
    with records(shared_database_url) as known:
        return known.create_key("read", 1, "")


def log_in(page: Page, key: str) -> None:
    page.get_by_label("A key that reads").fill(key)
    page.get_by_role("button", name="Log in").click()


def test_it_leads_to_what_was_asked_for_and_back_when_the_key_ends(
    page: Page, console: Console, asking: httpx.Client, shared_database_url: str, key: str
) -> None:
    page.goto(f"{asking.base_url}/dashboard/?range=7d&tz=UTC")
    expect(page).to_have_url(re.compile("/login"))
    log_in(page, key)
    expect(page).to_have_url(re.compile(r"/dashboard/\?.*range=7d"))
    expect(page.locator("#figures")).to_be_visible()
    console.expect(FAILED_REQUEST)
    with records(shared_database_url) as known:
        known.revoke(id_of(key))
    # It asks every now and then whether there is something new.
    expect(page).to_have_url(re.compile(r"/login\?next=.*range%3D7d"), timeout=60_000)


def test_it_works_without_javascript(browser: Browser, asking: httpx.Client, key: str) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{asking.base_url}/dashboard/")
        log_in(page, "wrong")
        expect(page.get_by_role("alert")).to_be_visible()
        log_in(page, key)
        expect(page).to_have_url(f"{asking.base_url}/dashboard/")
        page.goto(f"{asking.base_url}/login")
        page.get_by_role("button", name="Log out").click()
        page.goto(f"{asking.base_url}/dashboard/")
        expect(page).to_have_url(re.compile("/login"))


@pytest.mark.parametrize("width", [1200, NARROWEST])
def test_the_dashboard_logs_out_by_keyboard(
    page: Page, console: Console, asking: httpx.Client, key: str, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{asking.base_url}/dashboard/")
    log_in(page, key)
    button = page.get_by_role("button", name="Log out")
    expect(button).to_be_visible()
    expect(page.locator("#live b")).to_have_text(re.compile(r"\d"))
    assert_accessible(page)
    page.screenshot(path=SCREENSHOTS / f"dashboard-log-out-{width}.png")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.locator("#theme").focus()
    page.keyboard.press("Tab")
    expect(button).to_be_focused()
    console.expect(FAILED_REQUEST)  # What is still asked for when the login ends.
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/login"))
    assert page.context.cookies() == []
    page.goto(f"{asking.base_url}/dashboard/")
    expect(page).to_have_url(re.compile("/login"))


def test_where_nobody_logs_in_nobody_logs_out(page: Page, service: httpx.Client) -> None:
    page.goto(f"{service.base_url}/dashboard/")
    expect(page.locator("#theme")).to_be_visible()
    expect(page.locator("#log-out")).to_be_hidden()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing(
    page: Page, console: Console, asking: httpx.Client, scheme: Scheme
) -> None:
    console.expect(FAILED_REQUEST)
    page.set_viewport_size({"width": NARROWEST, "height": 700})
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{asking.base_url}/login")
    assert_accessible(page)
    log_in(page, "wrong")
    expect(page.get_by_role("alert")).to_be_visible()
    assert_accessible(page)
    page.screenshot(path=SCREENSHOTS / f"login-{scheme}.png")
    assert page.evaluate("document.documentElement.scrollWidth") == NARROWEST
