"""tallymark.js where the network, the service, the tab or the clock fails: each event once."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Error, Page

from tests.browser.site import Row, Site, click, expect_waiting, site_of, track, waiting
from tests.browser.support import FAILED_REQUEST, Console, posts_of, shift_clock
from tests.embedded.conftest import eventually
from tests.support.databases import Database, blocked_table
from tests.support.metrics import scrape
from tests.support.services import ServiceProcess, running_service

pytestmark = pytest.mark.browser

TABS = 20
LOADS = 100
NO_ANSWER = "window.fetch = () => new Promise(() => {})"
HIDE = "dispatchEvent(new PageTransitionEvent('pagehide'))"


@pytest.fixture(autouse=True)
def failures(console: Console) -> None:
    """Requests fail here."""
    console.expect(FAILED_REQUEST)


@pytest.fixture(scope="module")
def process(
    shared_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    """A service that can be killed, and allows every origin."""
    log = tmp_path_factory.mktemp("service") / "service.log"
    process = ServiceProcess(shared_database_url, log, CORS_ALLOWED_ORIGINS="*")
    with process.running():
        yield process


@pytest.fixture
def site(
    process: ServiceProcess,
    context: BrowserContext,
    database: Database,
    no_events: None,
    tmp_path: Path,
) -> Iterator[Site]:
    """A site that embeds the script of that service."""
    with site_of(tmp_path, process.base_url) as url:
        yield Site(context, database, url)


def clicks(count: int) -> list[str]:
    """Return as many ids."""
    return [f"button-{number}" for number in range(count)]


# The network and the service


def test_two_tabs_that_were_offline_send_all_once(site: Site) -> None:
    tabs = [site.open(), site.open()]
    site.expect_rows(site.view(), site.view())
    site.context.set_offline(True)
    for name, page in zip("ab", tabs, strict=True):
        track(page, *(f"{name}-{one}" for one in clicks(20)))
    expect_waiting(tabs[0], 40)
    site.context.set_offline(False)
    rows = [click(f"{name}-{one}") for name in "ab" for one in clicks(20)]
    site.expect_rows(site.view(), site.view(), *rows)
    expect_waiting(tabs[0], 0)


def test_what_waits_outlives_a_reload(site: Site, process: ServiceProcess) -> None:
    page = site.open()
    site.expect_rows(site.view())
    process.kill()
    track(page, "before")
    page.reload()
    track(page, "after")
    assert waiting(page) == 3
    process.start()
    site.expect_rows(site.view(), site.view(), click("before"), click("after"))


def test_what_waits_outlives_a_tab_that_crashes(site: Site, process: ServiceProcess) -> None:
    page = site.open()
    site.expect_rows(site.view())
    process.kill()
    track(page, *clicks(5))
    with page.expect_event("crash"), pytest.raises(Error):
        page.goto("chrome://crash")
    process.start()
    site.open("/index.html")
    site.expect_rows(site.view(), site.view("/index.html"), *map(click, clicks(5)))


def test_a_service_that_is_killed_under_100_loads_loses_and_doubles_nothing(
    site: Site, process: ServiceProcess
) -> None:
    tabs = [site.open() for _ in range(TABS)]
    ledger: list[Row] = [site.view()] * TABS
    for first in range(0, LOADS, TABS):
        for number, page in enumerate(tabs, first):
            page.goto(f"{site.url}/?{number}", wait_until="commit")
        if away := first % (2 * TABS) == 0:
            process.kill()
        for number, page in enumerate(tabs, first):
            page.wait_for_load_state("load")
            # A page that had not the script has counted nothing.
            if page.evaluate("'tallymark' in window"):
                ledger += [site.view(f"/?{number}"), click(f"?{number}")]
        if away:
            process.start()
    assert len(ledger) > LOADS  # Most had it: they keep the script.
    site.expect_rows(*ledger)
    expect_waiting(tabs[0], 0)


def test_a_service_that_has_no_time_is_asked_again(
    context: BrowserContext,
    database: Database,
    no_events: None,
    shared_database_url: str,
    native: bool,
    tmp_path: Path,
) -> None:
    posts = posts_of(context)
    with (
        running_service(
            database_url=shared_database_url,
            cors_allowed_origins="*",
            ingest_deadline_seconds=0.5,
            spool_bytes=0,
        ) as base_url,
        site_of(tmp_path, base_url) as url,
    ):
        site = Site(context, database, url)
        with blocked_table(shared_database_url, native=native):
            page = site.open()
            page.wait_for_event("response", lambda answer: answer.status == 503)
        site.expect_rows(site.view())
        expect_waiting(page, 0)
        first, second, *_ = (post.timing["startTime"] for post in posts)
        assert second - first >= 2000, "it was told to wait for two seconds"


# Pages that are left


def hide(page: Page) -> None:
    """Let a page believe that another tab is in front of it."""
    page.evaluate("Object.defineProperty(document, 'hidden', { get: () => true })")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))")


@pytest.mark.parametrize("leave", [Page.close, hide], ids=["closed", "hidden"])
def test_what_was_not_answered_goes_when_the_page_is_left(
    site: Site, process: ServiceProcess, leave: Callable[[Page], None]
) -> None:
    def known() -> float:
        return scrape(process.base_url).value("tallymark_events_duplicate_total")

    site.context.add_init_script(NO_ANSWER)
    page = site.open()
    track(page, *clicks(3))
    leave(page)
    site.expect_rows(site.view(), *map(click, clicks(3)))
    if leave is hide:
        before = known()
        # Now it sends them twice more; and not when the next test has emptied the table.
        page.close()
        eventually(lambda: known() >= before + 8, 30)


def test_what_no_beacon_holds_waits_for_the_next_page(site: Site) -> None:
    page = site.open()
    page.evaluate(f"void ({NO_ANSWER})")
    ids = [one + "\u20ac" * 1000 for one in clicks(50)]
    track(page, *ids)
    posts = posts_of(site.context)
    with page.expect_request("**/events/batch"):
        page.evaluate(HIDE)
    page.wait_for_timeout(300)
    assert len(posts) < 8
    page.close()
    page = site.open("/index.html")
    site.expect_rows(site.view(), site.view("/index.html"), *map(click, ids))
    expect_waiting(page, 0)


def test_what_waits_is_no_more_than_a_thousand_events(site: Site) -> None:
    page = site.open()
    site.expect_rows(site.view())
    expect_waiting(page, 0)
    site.context.set_offline(True)
    track(page, *clicks(100))
    page.wait_for_timeout(5)  # Of one millisecond none is the oldest.
    track(page, *(f"new-{one}" for one in clicks(1000)))
    assert waiting(page) == 1000
    site.context.set_offline(False)
    site.expect_rows(site.view(), *(click(f"new-{one}") for one in clicks(1000)))


# Clocks


def believe(context: BrowserContext, ahead: timedelta) -> None:
    """Let pages begin with what an earlier page found out of the service's clock."""
    milliseconds = round(ahead.total_seconds() * 1000)
    # There is none before the first page.
    context.add_init_script(f"if (location.host) localStorage.tallymarkAhead ??= '{milliseconds}'")


def assert_stored_now(database: Database, since: datetime) -> None:
    """Check that all events are of now; the service says its time in whole seconds."""
    margin = timedelta(seconds=3)
    for (timestamp,) in database.execute("select timestamp from events"):
        assert since - margin <= timestamp <= datetime.now(UTC) + margin


WRONG = [timedelta(hours=5), timedelta(hours=-5), timedelta(days=400), timedelta(days=-9000)]


@pytest.mark.parametrize("offset", WRONG, ids=str)
def test_a_clock_is_known_before_the_first_event_is_sent(
    context: BrowserContext, site: Site, database: Database, offset: timedelta
) -> None:
    shift_clock(context, offset)
    posts = posts_of(context)
    since = datetime.now(UTC)
    page = site.open()
    site.expect_rows(site.view())
    expect_waiting(page, 0)
    track(page, "a")
    site.expect_rows(site.view(), click("a"))
    expect_waiting(page, 0)
    assert_stored_now(database, since)
    assert len(posts) == 2


@pytest.mark.parametrize(
    "offset", [timedelta(hours=5), timedelta(days=400), timedelta(days=-8)], ids=str
)
def test_a_clock_that_was_right_before_is_corrected_by_the_refusal(
    context: BrowserContext, site: Site, database: Database, offset: timedelta
) -> None:
    shift_clock(context, offset)
    believe(context, timedelta(0))
    since = datetime.now(UTC)
    page = site.open()
    track(page, "a")
    site.expect_rows(site.view(), click("a"))
    expect_waiting(page, 0)
    track(page, "b")
    site.expect_rows(site.view(), click("a"), click("b"))
    assert_stored_now(database, since)


def test_a_clock_that_is_put_right_is_believed_again(
    context: BrowserContext, site: Site, database: Database
) -> None:
    believe(context, timedelta(hours=-3))
    page = site.open()
    site.expect_rows(site.view())
    expect_waiting(page, 0)
    assert page.evaluate("localStorage.tallymarkAhead") == "0"


def test_an_event_that_waited_for_more_than_seven_days_is_dropped(
    site: Site, database: Database
) -> None:
    page = site.open()
    site.expect_rows(site.view())
    put = """([days, name]) => {
        const time = Date.now() - days * 24 * 3600 * 1000;
        localStorage[`tallymark:${time.toString(16).padStart(12, 0)}-7abc-8def-0123456789ab`] =
            JSON.stringify({ user_id: "u", event_type: "click", payload: { element_id: name } });
    }"""
    for days, name in ((6, "young"), (8, "old")):
        page.evaluate(put, [days, name])
    track(page, "new")
    site.expect_rows(site.view(), click("young"), click("new"))
    expect_waiting(page, 0)
    query = "select now() - timestamp from events where payload ->> 'element_id' = 'young'"
    ((age,),) = database.execute(query).fetchall()
    assert timedelta(days=6) <= age < timedelta(days=6, minutes=5)
