"""Every button of the demo ends as exactly one row, and the page shows what happened to it."""

import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.support import (
    BERLIN,
    FAILED_REQUEST,
    Console,
    Demo,
    client_server,
    copy_of_client,
    posts_of,
)
from tests.browser.test_login import log_in
from tests.browser.test_looks import NARROWEST, SCHEMES, assert_accessible, keep_screenshot
from tests.support.databases import Database

pytestmark = pytest.mark.browser


def test_every_button_ends_as_one_row(context: BrowserContext, demo: Demo) -> None:
    context.grant_permissions(["geolocation"])
    context.set_geolocation(BERLIN)
    demo.open()
    demo.click()
    demo.locate()
    demo.expect_stored(3)
    assert demo.rows() == [
        ("view", {"url": f"{demo.base_url}/demo/", "title": "Tallymark: a page that is counted"}),
        (
            "click",
            {"element_id": "click-me", "text": "Click me", "xpath": '//*[@id="click-me"]'},
        ),
        ("location", BERLIN),
    ]


def test_the_first_load_is_sent_by_the_worker(context: BrowserContext, demo: Demo) -> None:
    posts = posts_of(context)
    demo.open().expect_stored(1)
    demo.expect_sender("By the service worker")
    (post,) = posts
    assert post.service_worker is not None
    assert demo.types() == ["view"]


def test_a_reload_is_another_view_of_the_same_user(demo: Demo, database: Database) -> None:
    demo.open().expect_stored(1)
    demo.page.reload()
    demo.expect_stored(1)
    demo.click()
    demo.expect_stored(2)
    assert demo.types() == ["view", "view", "click"]
    users = database.execute("select distinct user_id from events").fetchall()
    assert len(users) == 1


def test_two_tabs_send_by_one_worker(demo: Demo) -> None:
    demo.open().expect_stored(1)
    other = demo.in_another_tab()
    other.open().expect_stored(1)
    other.click()
    other.expect_stored(2)
    demo.click()
    demo.expect_stored(2)
    assert demo.types() == ["view", "view", "click", "click"]
    assert len(demo.page.context.service_workers) == 1


def test_clicks_faster_than_the_answers_are_each_stored_in_their_order(demo: Demo) -> None:
    demo.open()
    demo.page.evaluate("for (let n = 0; n < 30; n++) document.getElementById('click-me').click()")
    demo.expect_stored(31)
    assert demo.types() == ["view"] + ["click"] * 30


def test_the_page_shows_what_the_service_answered(demo: Demo, database: Database) -> None:
    demo.open().expect_stored(1)
    demo.click()
    demo.expect_stored(2)
    demo.expect_said(re.compile(r"The click was stored in \d+ ms\."))
    row = database.execute(
        "select event_id::text, timestamp from events where event_type = 'click'"
    ).fetchone()
    assert row is not None
    newest = demo.page.locator("#events li").first
    expect(newest).to_contain_text(row[0])
    expect(newest).to_contain_text(re.compile(r"202 · \d+ ms"))
    moment = row[1].isoformat(timespec="milliseconds").replace("+00:00", "Z")
    expect(newest.locator("time")).to_have_attribute("datetime", moment)


def test_the_counts_move_and_say_by_how_much(demo: Demo, database: Database) -> None:
    tile = demo.page.locator("#counts [data-type=total]")
    demo.open().expect_stored(1)
    expect(tile).to_contain_text("1 +1")
    demo.page.reload()
    demo.expect_stored(1)
    expect(tile).to_contain_text("2 +1")
    demo.click()
    expect(tile).to_contain_text("3 +2")
    expect(demo.page.locator("#counts [data-type=click]")).to_contain_text("1 +1")
    # What others store is seen too, without a click.
    database.execute(
        "insert into events (timestamp, event_id, user_id, event_type, payload) "
        """values (now(), gen_random_uuid(), 'other', 'view', '{"url": "/"}')"""
    )
    expect(tile).to_contain_text("4 +3")


def test_an_event_that_is_refused_is_shown_and_holds_up_no_other(
    demo: Demo, console: Console, tmp_path: Path, open_service: str
) -> None:
    console.expect(FAILED_REQUEST)
    folder = copy_of_client(tmp_path)
    page = folder / "index.html"
    page.write_text(page.read_text().replace("a page that is counted", "x" * 70_000))
    with client_server(folder) as origin:
        demo.open(f"{origin}/?service={open_service}")
        demo.click()
        expect(demo.events("stored")).to_have_count(1)
        expect(demo.events("refused")).to_contain_text("413")
    assert demo.types() == ["click"]


def test_where_keys_are_required_it_says_what_is_missing_and_takes_a_key(
    demo: Demo, console: Console, asking: httpx.Client, keys: dict[str, str]
) -> None:
    console.expect(FAILED_REQUEST)
    page, service = demo.page, str(asking.base_url).rstrip("/")
    demo.open(f"{service}/demo/")
    demo.expect_said("the service takes events only with a write key, and this page has none")
    expect(demo.events("refused")).to_contain_text("401")
    expect(page.locator("#counts-note")).to_have_text(
        "The counts are for who has logged in: log in"
    )
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert_accessible(page)
        keep_screenshot(page, f"key-{scheme}")
    page.set_viewport_size({"width": NARROWEST, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") == NARROWEST
    field = page.get_by_label("Write key")
    field.fill(keys["read 2"])
    field.press("Enter")
    demo.expect_said("the key is none that writes")
    field.fill(f" {keys['write 2']} ")
    page.get_by_role("button", name="Use it").press("Space")
    demo.expect_stored(1)
    expect(page).to_have_url(f"{service}/demo/")
    expect(field).to_be_hidden()
    page.reload()
    demo.expect_stored(1)
    demo.click()
    demo.expect_stored(2)
    urls = [payload["url"] for kind, payload in demo.rows() if kind == "view"]
    assert urls == [f"{service}/demo/"] * 2, "the key is no part of it"
    page.goto(f"{service}/login")
    log_in(page, keys["read 2"])
    expect(page).to_have_url(re.compile("/dashboard/"))
    demo.open(f"{service}/demo/")
    expect(page.locator("#counts [data-type=total]")).to_contain_text("4 +1")


def test_a_key_in_the_address_is_taken_and_is_no_part_of_a_view(
    demo: Demo, asking: httpx.Client, console: Console, keys: dict[str, str]
) -> None:
    console.expect(FAILED_REQUEST)  # The counts take a login.
    page = str(asking.base_url.join("/demo/?x=1"))
    demo.open(f"{page}&key={keys['write 1']}").expect_stored(1)
    expect(demo.page).to_have_url(page)
    ((_, payload),) = demo.rows()
    assert payload["url"] == page
