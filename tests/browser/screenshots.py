"""Pictures of the demo and the dashboard for the README: `scripts/screenshots`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, ViewportSize, expect

from loadtest.databases import fresh_database, load_sample_events
from tests.browser.chromium import MISSING, find_chromium, running_chromium
from tests.browser.dashboard import Dashboard
from tests.browser.support import BERLIN
from tests.support.services import ROOT, ServiceProcess

IMAGES = ROOT / "docs" / "images"
SIZE: ViewportSize = {"width": 1200, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
END = datetime(2025, 5, 28, 21, 40, tzinfo=UTC)
"""The dashboard's moment: just before the end of the sample data."""

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


def main() -> None:
    """Make the pictures."""
    executable = find_chromium()
    if executable is None:
        sys.exit(f"tallymark: {MISSING}")
    with running_chromium(executable) as browser:
        with service_with(5000) as base_url:
            for scheme in SCHEMES:
                take_demo(browser, base_url, scheme)
        with service_with(60_000, "--start", "2025-03-01", "--end", "2025-05-28") as base_url:
            for scheme in SCHEMES:
                take_dashboard(browser, base_url, scheme, scheme, SIZE)
            take_dashboard(browser, base_url, "phone", "light", PHONE)


@contextmanager
def service_with(events: int, *options: str) -> Iterator[str]:
    """Yield the URL of a service on a fresh database with sample data."""
    with fresh_database() as (url, _):
        load_sample_events(url, events, *options)
        service = ServiceProcess(url, Path(os.devnull))
        service.start()
        try:
            yield service.base_url
        finally:
            service.terminate()


def take_demo(browser: Browser, base_url: str, scheme: Scheme) -> None:
    """Make the demo's picture in a colour scheme, with an event of each type sent."""
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
        keep(page, f"demo-{scheme}")


def take_dashboard(
    browser: Browser, base_url: str, name: str, scheme: Scheme, size: ViewportSize
) -> None:
    """Make a picture of the dashboard, which believes that the sample data end now."""
    with browser.new_context(
        viewport=size, color_scheme=scheme, reduced_motion="reduce", timezone_id="Europe/Berlin"
    ) as context:
        page = context.new_page()
        page.clock.set_fixed_time(END)
        Dashboard(page, base_url).open()
        keep(page, f"dashboard-{name}")


def keep(page: Page, name: str) -> None:
    """Keep a picture of the whole page in docs/images/."""
    path = IMAGES / f"{name}.png"
    page.screenshot(path=path, full_page=True, animations="disabled")
    print(path.relative_to(ROOT))


def expect_stored(page: Page, count: int) -> None:
    """Wait until so many events are shown as stored, and are counted."""
    expect(page.locator("#events li[data-state=stored]")).to_have_count(count)
    expect(page.locator("#counts [data-type=total]")).to_contain_text(f"+{count}")


if __name__ == "__main__":
    main()
