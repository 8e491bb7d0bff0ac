"""A browser whose clock is wrong: its events are stored under the service's time, once."""

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.support import FAILED_REQUEST, Console, Demo, posts_of, shift_clock
from tests.support.databases import Database

pytestmark = pytest.mark.browser

WRONG = [timedelta(days=400), timedelta(minutes=20), timedelta(days=-8), timedelta(days=-9000)]


@pytest.mark.parametrize("offset", WRONG, ids=str)
def test_the_page_learns_the_services_clock(
    context: BrowserContext, demo: Demo, database: Database, console: Console, offset: timedelta
) -> None:
    console.expect(FAILED_REQUEST)
    posts = posts_of(context)
    shift_clock(context, offset)
    before = datetime.now(UTC) - timedelta(seconds=1)
    demo.open().expect_stored(1)
    demo.click()
    demo.expect_stored(2)
    assert demo.types() == ["view", "click"]
    for (timestamp,) in database.execute("select timestamp from events"):
        assert before <= timestamp <= datetime.now(UTC) + timedelta(seconds=1)
    # Refused once, and known from then on.
    assert len(posts) == 3
    expect(demo.page.locator("#counts [data-type=total]")).to_contain_text("2 +2")
