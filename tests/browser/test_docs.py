"""The API's description in a browser: it works under its policy, and a request can be tried."""

import re

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.support import FAILED_REQUEST, Console
from tests.http.test_documentation import operations

pytestmark = pytest.mark.browser


def test_every_operation_is_shown_and_one_is_tried(page: Page, service: httpx.Client) -> None:
    page.goto(f"{service.base_url}/docs")
    expect(page.locator(".opblock")).to_have_count(len(list(operations())))
    live = page.locator("#operations-health-isLive")
    live.get_by_text("/health/live").click()
    live.get_by_role("button", name="Try it out").click()
    live.get_by_role("button", name="Execute").click()
    expect(live.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
    expect(live.locator(".live-responses-table")).to_contain_text('"status": "live"')


def test_a_script_that_is_not_ours_does_not_run(
    page: Page, service: httpx.Client, console: Console
) -> None:
    console.expect(re.compile("Content Security Policy"), FAILED_REQUEST)
    page.goto(f"{service.base_url}/demo/")
    with page.expect_event("console", lambda one: "inline script" in one.text):
        page.evaluate(
            "const script = document.createElement('script');"
            "script.textContent = 'window.injected = 1'; document.head.append(script)"
        )
    assert page.evaluate("window.injected") is None
