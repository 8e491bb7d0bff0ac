"""The service goes away and comes back: what waited is stored once, without a hand."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.support import FAILED_REQUEST, Console, Demo
from tests.support.databases import blocked_table
from tests.support.services import ServiceProcess, running_service

pytestmark = pytest.mark.browser


@pytest.fixture
def process(shared_database_url: str, tmp_path: Path) -> Iterator[ServiceProcess]:
    """A service that can be killed."""
    process = ServiceProcess(shared_database_url, tmp_path / "service.log")
    process.start()
    yield process
    process.kill()


@pytest.fixture(autouse=True)
def failures(console: Console) -> None:
    """Requests fail here."""
    console.expect(FAILED_REQUEST)


def test_what_is_clicked_during_an_outage_is_stored_once_after_it(
    demo: Demo, process: ServiceProcess
) -> None:
    demo.open(f"{process.base_url}/demo/").expect_stored(1)
    process.kill()
    for _ in range(3):
        demo.click()
    expect(demo.events("waiting")).to_have_count(3)
    demo.expect_said(f"No answer from {process.base_url}. What waits is sent again by itself.")
    expect(demo.page.locator("#counts-note")).to_have_text("The counts can't be read now")
    process.start()
    demo.expect_stored(4)
    expect(demo.page.locator("#counts [data-type=total]")).to_contain_text("4 +4")
    assert demo.types() == ["view", "click", "click", "click"]


def test_a_service_that_is_killed_under_clicks_stores_each_once(
    demo: Demo, process: ServiceProcess
) -> None:
    demo.open(f"{process.base_url}/demo/").expect_stored(1)
    demo.page.evaluate("for (let n = 0; n < 50; n++) document.getElementById('click-me').click()")
    expect(demo.events("stored").nth(9)).to_be_attached()
    process.kill()
    process.start()
    expect(demo.events("waiting")).to_have_count(0, timeout=40_000)
    assert demo.types() == ["view"] + ["click"] * 50


def test_an_event_that_the_database_is_too_slow_for_is_stored_once(
    demo: Demo, shared_database_url: str, native: bool
) -> None:
    with running_service(
        database_url=shared_database_url,
        ingest_deadline_seconds=0.5,
        read_deadline_seconds=0.5,
        spool_bytes=0,
    ) as base_url:
        demo.open(f"{base_url}/demo/").expect_stored(1)
        with blocked_table(shared_database_url, native=native):
            demo.click()
            expect(demo.events("waiting")).to_contain_text(re.compile(r"503 · \d+ ms"))
            demo.expect_said("The database did not store the event in time")
        demo.expect_stored(2)
    assert demo.types() == ["view", "click"]
