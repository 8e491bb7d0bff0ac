"""The service worker: not active yet, replaced, gone, and where there can be none."""

import re
import threading
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.chromium import INSECURE_HOST
from tests.browser.support import (
    FAILED_REQUEST,
    Console,
    Demo,
    client_server,
    copy_of_client,
    posts_of,
)

pytestmark = pytest.mark.browser


def test_events_wait_in_order_for_the_worker(demo: Demo, tmp_path: Path, open_service: str) -> None:
    arrived = threading.Event()
    with client_server(copy_of_client(tmp_path), arrived) as origin:
        demo.open(f"{origin}/?service={open_service}")
        demo.click()
        demo.click()
        expect(demo.events("waiting")).to_have_count(3)
        assert demo.types() == []
        arrived.set()
        demo.expect_stored(3)
    demo.expect_sender("By the service worker")
    assert demo.types() == ["view", "click", "click"]


def test_a_page_that_is_closed_before_the_worker_is_active_loses_nothing(
    demo: Demo, tmp_path: Path, open_service: str
) -> None:
    with client_server(copy_of_client(tmp_path), threading.Event()) as origin:
        demo.open(f"{origin}/?service={open_service}")
        demo.click()
        expect(demo.events("waiting")).to_have_count(2)
        other = demo.in_another_tab()
        demo.page.close()
        # By the second tab, since the first can't be asked any more.
        tile = other.page.locator("#counts [data-type=total]")
        other.open("/demo/").expect_stored(1)
        expect(tile).to_contain_text("3 +1")
    assert sorted(demo.types()) == ["click", "view", "view"]


def test_a_page_that_is_left_before_the_worker_is_active_and_comes_back_sends_once(
    demo: Demo, tmp_path: Path, open_service: str
) -> None:
    arrived = threading.Event()
    with client_server(copy_of_client(tmp_path), arrived) as origin:
        demo.open(f"{origin}/?service={open_service}")
        demo.click()
        expect(demo.events("waiting")).to_have_count(2)
        # As a phone does that switches to another program: sent at once, and again later.
        demo.page.evaluate(
            "dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))"
        )
        expect(demo.page.locator("#counts [data-type=total]")).to_contain_text("2 +2")
        arrived.set()
        demo.expect_stored(2)
    assert demo.types() == ["view", "click"]


def test_a_worker_with_other_bytes_takes_over(
    context: BrowserContext, demo: Demo, tmp_path: Path, open_service: str
) -> None:
    context.add_init_script(
        "navigator.serviceWorker.addEventListener('controllerchange', () => (window.taken = true))"
    )
    posts = posts_of(context)
    folder = copy_of_client(tmp_path)
    worker = folder / "service-worker.js"
    with client_server(folder) as origin:
        demo.open(f"{origin}/?service={open_service}").expect_stored(1)
        worker.write_text(
            worker.read_text().replace("headers: {", 'headers: { "X-Request-ID": "new",')
        )
        demo.page.reload()
        demo.click()
        demo.page.wait_for_function("window.taken")
        demo.expect_stored(2)
        demo.click()
        demo.expect_stored(3)
    assert posts[0].headers.get("x-request-id") is None
    assert posts[-1].headers["x-request-id"] == "new"
    assert demo.types() == ["view", "view", "click", "click"]


def test_a_worker_that_is_stopped_is_started_again(context: BrowserContext, demo: Demo) -> None:
    demo.open().expect_stored(1)
    devtools = context.new_cdp_session(demo.page)
    devtools.send("ServiceWorker.enable")
    devtools.send("ServiceWorker.stopAllWorkers")
    demo.click()
    demo.expect_stored(2)
    demo.expect_sender("By the service worker")
    assert demo.types() == ["view", "click"]


def test_a_worker_that_is_removed_is_done_without(context: BrowserContext, demo: Demo) -> None:
    demo.open().expect_stored(1)
    what = {"origin": demo.base_url, "storageTypes": "service_workers"}
    context.new_cdp_session(demo.page).send("Storage.clearDataForOrigin", what)
    demo.click()
    demo.expect_stored(2)
    assert demo.types() == ["view", "click"]


def test_a_browser_without_workers_sends_by_the_page(context: BrowserContext, demo: Demo) -> None:
    context.add_init_script("delete Navigator.prototype.serviceWorker")
    demo.open()
    demo.click()
    demo.expect_stored(2)
    demo.expect_sender("there is no service worker here")
    assert demo.types() == ["view", "click"]


def test_an_insecure_page_sends_by_itself(
    context: BrowserContext, demo: Demo, open_service: str
) -> None:
    context.grant_permissions(["geolocation"])
    demo.open(f"{open_service.replace('127.0.0.1', INSECURE_HOST)}/demo/")
    assert demo.page.evaluate("isSecureContext") is False
    demo.click()
    demo.expect_stored(2)
    demo.expect_sender("there is no service worker here")
    demo.locate()
    demo.expect_said("Nothing was sent.")
    assert demo.types() == ["view", "click"]


def test_a_worker_that_is_not_there_is_done_without(
    demo: Demo, console: Console, tmp_path: Path, open_service: str
) -> None:
    console.expect(FAILED_REQUEST, re.compile(r"404\) was received when fetching the script"))
    folder = copy_of_client(tmp_path)
    (folder / "service-worker.js").unlink()
    with client_server(folder) as origin:
        demo.open(f"{origin}/?service={open_service}")
        demo.click()
        demo.expect_stored(2)
    demo.expect_sender("there is no service worker here")
    assert demo.types() == ["view", "click"]


def test_where_storage_is_refused_the_id_is_the_pages(context: BrowserContext, demo: Demo) -> None:
    context.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no') } })"
    )
    demo.open()
    demo.click()
    demo.expect_stored(2)
    assert demo.types() == ["view", "click"]
