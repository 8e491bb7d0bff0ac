"""Pictures of the demo for the README: `scripts/screenshots`."""

import os
import sys
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, ViewportSize, expect

from loadtest.databases import fresh_database, load_sample_events
from tests.browser.chromium import MISSING, find_chromium, running_chromium
from tests.browser.support import BERLIN
from tests.support.services import ROOT, ServiceProcess

IMAGES = ROOT / "docs" / "images"
SIZE: ViewportSize = {"width": 1200, "height": 900}


def main() -> None:
    """Make the pictures."""
    executable = find_chromium()
    if executable is None:
        sys.exit(f"tallymark: {MISSING}")
    with fresh_database() as (url, _), running_chromium(executable) as browser:
        load_sample_events(url, 5000)
        service = ServiceProcess(url, Path(os.devnull))
        service.start()
        try:
            for scheme in ("light", "dark"):
                take(browser, service.base_url, scheme)
        finally:
            service.terminate()


def take(browser: Browser, base_url: str, scheme: Literal["light", "dark"]) -> None:
    """Make the picture in a colour scheme, with an event of each type sent."""
    with browser.new_context(
        viewport=SIZE,
        color_scheme=scheme,
        reduced_motion="reduce",
        permissions=["geolocation"],
        geolocation=BERLIN,
    ) as context:
        page = context.new_page()
        page.goto(f"{base_url}/demo/")
        expect_stored(page, 1)
        page.locator("#click-me").click()
        expect_stored(page, 2)
        page.locator("#get-location").click()
        expect_stored(page, 3)
        page.mouse.move(0, 0)
        path = IMAGES / f"demo-{scheme}.png"
        page.screenshot(path=path, full_page=True, animations="disabled")
        print(path.relative_to(ROOT))


def expect_stored(page: Page, count: int) -> None:
    """Wait until so many events are shown as stored, and are counted."""
    expect(page.locator("#events li[data-state=stored]")).to_have_count(count)
    expect(page.locator("#counts [data-type=total]")).to_contain_text(f"+{count}")


if __name__ == "__main__":
    main()
