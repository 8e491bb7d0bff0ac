"""The Chromium that the machine has; none is downloaded."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = "no Chromium is found (Debian: apt-get install chromium)"

INSECURE_HOST = "tallymark.test"
"""A name of 127.0.0.1 that is not localhost: without HTTPS, browsers take it for insecure."""


def find_chromium() -> str | None:
    """Return the path of Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def running_chromium(executable: str) -> Iterator[Browser]:
    """Yield a headless browser."""
    # Chromium's sandbox does not work for root.
    sandbox = [] if os.getuid() else ["--no-sandbox"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=[*sandbox, f"--host-resolver-rules=MAP {INSECURE_HOST} 127.0.0.1"],
        )
        with browser:
            yield browser
