"""tallymark.js in a page of another origin: what is counted, and what is not."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, Request

from tests.browser.chromium import INSECURE_HOST
from tests.browser.site import (
    ALLOW,
    HTML,
    Site,
    click,
    expect_waiting,
    site_of,
    track,
    waiting,
)
from tests.browser.support import (
    BERLIN,
    FAILED_REQUEST,
    WAIT_MILLISECONDS,
    Console,
    posts_of,
)
from tests.support.databases import Database

pytestmark = pytest.mark.browser

HASTE = (
    "{ const later = setTimeout; window.setTimeout = (act, pause) => later(act, pause / 1000); }"
)
MOST_POSTS = 5
"""Of a page that can't read answers: before each it asks for the time, which fails, too."""

NewSite = Callable[..., Site]


@pytest.fixture
def new_site(
    context: BrowserContext,
    database: Database,
    no_events: None,
    open_service: str,
    tmp_path: Path,
) -> Iterator[NewSite]:
    """Make a site that embeds the script with given attributes."""
    with ExitStack() as stack:

        def make(attributes: str = ALLOW, service_url: str = open_service) -> Site:
            url = stack.enter_context(site_of(tmp_path, service_url, attributes))
            return Site(context, database, url)

        yield make


@pytest.fixture
def site(new_site: NewSite) -> Site:
    """A site that embeds the script as tests need it."""
    return new_site()


# Views


def test_an_element_that_has_its_name_is_not_taken_for_it(new_site: NewSite) -> None:
    site = new_site(f"{ALLOW} id=tallymark")
    site.open()
    site.expect_rows(site.view())


def test_a_page_is_counted_without_a_preflight_or_a_cookie(
    context: BrowserContext, site: Site
) -> None:
    posts = posts_of(context)
    page = site.open("/?q=1#top")
    site.expect_rows(site.view("/?q=1"), click("?q=1"))
    expect_waiting(page, 0)
    assert posts
    for post in posts:
        assert post.url.endswith("/events/batch")
        assert post.headers["content-type"].startswith("text/plain")
        assert "cookie" not in post.all_headers()
    assert context.cookies() == []


def test_moves_of_a_script_are_views_with_their_titles(site: Site) -> None:
    page = site.open()
    page.evaluate("history.pushState({}, '', '/a'); document.title = 'A'")
    site.expect_rows(site.view(), site.view("/a", "A"))
    page.evaluate("history.replaceState({}, '', '/b'); document.title = 'B'")
    site.expect_rows(site.view(), site.view("/a", "A"), site.view("/b", "B"))
    # The same address again, and a part of the page, are none.
    page.evaluate("history.pushState({}, '', '/b'); location.hash = 'part'")
    page.evaluate("history.pushState({}, '', '/'); document.title = 'Shop'")
    page.evaluate("new Promise(resolve => setTimeout(resolve))")
    page.go_back()
    page.wait_for_url("**/b#part")
    site.expect_rows(
        site.view(),
        site.view("/a", "A"),
        site.view("/b", "B"),
        site.view(),
        site.view("/b", "Shop"),
    )


def test_parts_of_a_page_are_views_where_that_is_asked_for(new_site: NewSite) -> None:
    site = new_site(f"{ALLOW} data-hash")
    page = site.open("/#one")
    page.evaluate("location.hash = 'two'")
    site.expect_rows(site.view("/#one"), site.view("/#two"))


def test_a_page_that_comes_back_as_it_was_is_a_view(site: Site) -> None:
    page = site.open()
    site.expect_rows(site.view())
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    site.expect_rows(site.view(), site.view())


def test_a_script_that_stands_twice_counts_once(context: BrowserContext, site: Site) -> None:
    page = site.open()
    page.evaluate(
        """() => new Promise(resolve => {
            const again = document.createElement("script");
            again.src = document.querySelector("script[src]").src;
            again.dataset.allowAutomation = "";
            again.onload = resolve;
            document.body.append(again);
        })"""
    )
    page.locator("#buy").click()
    site.expect_rows(site.view(), click("buy"))


def test_a_page_that_is_prepared_is_counted_once_it_is_seen(
    context: BrowserContext, site: Site
) -> None:
    context.add_init_script(
        "document.constructor.prototype.__defineGetter__('prerendering', () => !window.seen)"
    )
    page = site.open("/?early")
    assert waiting(page) == 0
    assert site.rows() == []
    page.evaluate("window.seen = true; document.dispatchEvent(new Event('prerenderingchange'))")
    site.expect_rows(site.view("/?early"), click("?early"))


# Clicks and locations


def test_clicks_are_those_on_elements_that_say_so(site: Site) -> None:
    page = site.open()
    for selector in ("#buy b", "#hidden", "#other"):
        page.locator(selector).click()
    site.expect_rows(site.view(), click("buy"), click("named"))


def test_a_location_is_sent_on_request_only(context: BrowserContext, site: Site) -> None:
    context.grant_permissions(["geolocation"])
    context.set_geolocation(BERLIN)
    page = site.open()
    site.expect_rows(site.view())
    page.evaluate("tallymark.location()")
    site.expect_rows(site.view(), ("location", dict(BERLIN)))


@pytest.mark.parametrize(
    "script", ["0", "delete Navigator.prototype.geolocation"], ids=["refused", "missing"]
)
def test_a_location_that_is_not_given_is_not_sent(
    context: BrowserContext, site: Site, script: str
) -> None:
    context.clear_permissions()
    context.add_init_script(script)
    page = site.open()
    page.evaluate("tallymark.location()")
    page.locator("#buy").click()
    site.expect_rows(site.view(), click("buy"))


# Sessions


def test_a_tab_is_a_user(site: Site, database: Database) -> None:
    first = site.open()
    first.reload()
    site.open()
    site.expect_rows(*[site.view()] * 3)
    counts = database.execute("select count(*) from events group by user_id order by 1").fetchall()
    assert counts == [(1,), (2,)]


def test_where_storage_is_refused_the_page_is_counted(
    context: BrowserContext, site: Site, database: Database
) -> None:
    refuse = "{ get() { throw new DOMException('no') } }"
    for name in ("localStorage", "sessionStorage"):
        context.add_init_script(f"Object.defineProperty(window, '{name}', {refuse})")
    page = site.open()
    track(page, "a", "b")
    site.expect_rows(site.view(), click("a"), click("b"))
    assert database.execute("select count(distinct user_id) from events").fetchone() == (1,)


def test_where_storage_is_full_the_page_is_counted(site: Site) -> None:
    page = site.open()
    site.expect_rows(site.view())
    expect_waiting(page, 0)
    page.evaluate(
        """() => {
            for (let size = 1 << 20; size >= 1; size >>= 1) {
                try {
                    for (let n = 0; ; n++) localStorage[`full ${size} ${n}`] = "x".repeat(size);
                } catch {}
            }
        }"""
    )
    track(page, "a", "b")
    site.expect_rows(site.view(), click("a"), click("b"))
    assert page.evaluate("localStorage['full 1048576 0'].length") == 1 << 20


# Who is not counted


@pytest.mark.parametrize(
    ("attributes", "script"),
    [
        (ALLOW, "Object.defineProperty(navigator, 'doNotTrack', { get: () => '1' })"),
        (ALLOW, "Object.defineProperty(navigator, 'globalPrivacyControl', { get: () => true })"),
        ("", ""),
    ],
    ids=["do not track", "global privacy control", "automation"],
)
def test_who_is_not_to_be_counted_is_not(
    context: BrowserContext, new_site: NewSite, attributes: str, script: str
) -> None:
    context.add_init_script(script)
    context.grant_permissions(["geolocation"])
    site = new_site(attributes)
    posts = posts_of(context)
    page = site.open("/?q")
    page.locator("#buy").click()
    page.evaluate("tallymark.location(); history.pushState({}, '', '/a')")
    page.evaluate("dispatchEvent(new Event('pagehide'))")
    page.wait_for_timeout(500)
    assert posts == []
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0
    assert site.rows() == []


@pytest.mark.parametrize("choice", ["'0'", "'unspecified'", "null"])
def test_who_does_not_mind_is_counted(context: BrowserContext, site: Site, choice: str) -> None:
    context.add_init_script(
        f"Object.defineProperty(navigator, 'doNotTrack', {{ get: () => {choice} }})"
    )
    site.open()
    site.expect_rows(site.view())


# Errors


def test_nothing_is_thrown_into_the_page_and_what_is_refused_is_dropped(
    site: Site, console: Console
) -> None:
    console.expect(FAILED_REQUEST)
    page = site.open()
    site.expect_rows(site.view())
    page.evaluate(
        """() => {
            const circle = {};
            circle.circle = circle;
            tallymark.track("click", circle);
            tallymark.track("click", { number: 1n });
            tallymark.track("purchase", {});
            tallymark.track("view");
            tallymark.track();
            tallymark.track("click", { element_id: "x".repeat(70_000) });
            localStorage["tallymark:"] = "{";
            localStorage["tallymark:other"] = "null";
        }"""
    )
    track(page, "after")
    site.expect_rows(site.view(), click("after"))
    expect_waiting(page, 0)


def test_a_service_may_be_named_by_the_page(
    context: BrowserContext, new_site: NewSite, open_service: str
) -> None:
    site = new_site(f'{ALLOW} data-host="{open_service}/"', "")
    script = context.request.get(f"{open_service}/tallymark.js").text()
    context.route(
        f"{site.url}/tallymark.js",
        lambda route: route.fulfill(body=script, content_type="text/javascript"),
    )
    site.open()
    site.expect_rows(site.view())


def test_a_service_that_can_not_be_is_no_error_of_the_page(new_site: NewSite) -> None:
    site = new_site(f'{ALLOW} data-host="no URL"')
    page = site.open()
    page.evaluate("dispatchEvent(new Event('pagehide'))")
    page.wait_for_timeout(300)
    assert waiting(page) == 1
    assert site.rows() == []


def test_an_insecure_page_is_counted(
    new_site: NewSite, context: BrowserContext, database: Database
) -> None:
    site = new_site()
    site.url = site.url.replace("127.0.0.1", INSECURE_HOST)
    page = site.open()
    assert page.evaluate("[isSecureContext, 'locks' in navigator]") == [False, False]
    track(page, "a")
    site.expect_rows(site.view(), click("a"))


def test_an_origin_that_may_not_read_answers_asks_for_a_while_and_is_stored_once(
    new_site: NewSite,
    service: httpx.Client,
    database: Database,
    console: Console,
    open_service: str,
    tmp_path: Path,
) -> None:
    console.expect(FAILED_REQUEST)
    site = new_site(ALLOW, str(service.base_url))
    site.context.add_init_script(HASTE)
    posts = posts_of(site.context, "fetch")
    page = site.open()
    for loads in (1, 2):
        expect_posts(page, posts, loads * MOST_POSTS)
        track(page, "late")
        page.reload()
    site.expect_rows(*(site.view() for _ in range(3)), *(click("late") for _ in range(2)))
    page.close()
    sent = {event["event_id"] for post in posts for event in json.loads(post.post_data or "[]")}
    rows = database.execute("select event_id::text from events").fetchall()
    assert sent <= {event_id for (event_id,) in rows}, "each was always sent under the same id"
    # Once the site is allowed, what waits is known by its ids.
    (tmp_path / "index.html").write_text(HTML.format(service=open_service, attributes=ALLOW))
    page = site.open("/index.html")
    expect_waiting(page, 0)
    assert set(rows) < set(database.execute("select event_id::text from events").fetchall())
    assert len(site.rows()) == len(rows) + 1


def expect_posts(page: Page, posts: list[Request], count: int) -> None:
    """Wait for so many, and see that no more follow: without an end there would be hundreds."""
    deadline = time.monotonic() + WAIT_MILLISECONDS / 1000
    while len(posts) < count and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    page.wait_for_timeout(500)
    assert len(posts) == count


def test_it_needs_no_more_of_the_page_than_a_policy_that_names_the_service(
    page: Page, site: Site, tmp_path: Path, open_service: str
) -> None:
    html = tmp_path / "index.html"
    policy = (
        f"default-src 'none'; img-src data:; script-src {open_service}; connect-src {open_service}"
    )
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    text = html.read_text().split("<script>")[0].replace("<title>", f"{meta}<title>")
    html.write_text(text.replace(' onclick="event.stopPropagation()"', ""))
    page.goto(site.url)
    page.locator("#buy").click()
    site.expect_rows(site.view("/"), click("buy"))
