"""The demo on an origin that is not the service's, with and without its leave."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.support import FAILED_REQUEST, Console, Demo, client_server, copy_of_client
from tests.support.services import ROOT, running_service

pytestmark = pytest.mark.browser

DOCUMENTATION = (ROOT / "docs" / "client.md").read_text()


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """The client's files on an origin of their own, served by the documented command."""
    (command,) = re.findall(r"^    python (-m http\.server .*) 5500$", DOCUMENTATION, re.MULTILINE)
    with subprocess.Popen(
        [sys.executable, "-u", *command.split(), "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        found = re.search(r"port (\d+)", server.stdout.readline())
        assert found is not None
        yield f"http://127.0.0.1:{found[1]}"
        server.terminate()


@pytest.fixture(scope="module")
def allowing_service(shared_database_url: str, origin: str) -> Iterator[str]:
    """A service that allows this origin."""
    with running_service(database_url=shared_database_url, cors_allowed_origins=origin) as base_url:
        yield base_url


def test_an_origin_that_is_allowed_sends_by_its_own_worker(
    demo: Demo, origin: str, allowing_service: str
) -> None:
    demo.open(f"{origin}/?service={allowing_service}")
    demo.click()
    demo.expect_stored(2)
    demo.expect_sender(f"By the service worker, to {allowing_service}")
    expect(demo.page.locator("#counts [data-type=total]")).to_contain_text("2 +2")
    assert demo.types() == ["view", "click"]


COMPRESSED = """async (service) => {
    const batch = '[{"user_id": "ann", "event_type": "view", "payload": {"url": "/"}}]';
    const stream = new Blob([batch]).stream().pipeThrough(new CompressionStream("gzip"));
    const body = await new Response(stream).arrayBuffer();
    const headers = { "Content-Type": "application/json", "Content-Encoding": "gzip" };
    const answer = await fetch(`${service}/events/batch`, { method: "POST", headers, body });
    return answer.status;
}"""


def test_a_page_of_its_may_send_a_compressed_batch(
    demo: Demo, console: Console, origin: str, allowing_service: str
) -> None:
    console.expect(FAILED_REQUEST)  # For the icon, which a stylesheet does not name.
    demo.page.goto(f"{origin}/demo.css")
    assert demo.page.evaluate(COMPRESSED, allowing_service) == 202
    assert demo.types() == ["view"]


def test_the_page_may_name_its_service_itself(
    demo: Demo, tmp_path: Path, open_service: str
) -> None:
    folder = copy_of_client(tmp_path)
    page = folder / "index.html"
    page.write_text(page.read_text().replace("http://127.0.0.1:8000", f"{open_service}/"))
    with client_server(folder) as origin:
        demo.open(f"{origin}/").expect_stored(1)
    assert demo.types() == ["view"]


def test_an_origin_that_is_not_allowed_is_told_what_to_set(
    demo: Demo, console: Console, origin: str
) -> None:
    console.expect(FAILED_REQUEST)
    demo.open(f"{origin}/?service={demo.base_url}")
    demo.expect_said(
        f"No answer from {demo.base_url}. "
        f"Is it running, and does its CORS_ALLOWED_ORIGINS name {origin}?"
    )
    expect(demo.events("waiting")).to_have_count(1)
    expect(demo.page.locator("#counts-note")).to_have_text("The counts can't be read now")
    assert demo.types() == []


def test_what_is_no_url_of_a_service_is_told(demo: Demo, console: Console) -> None:
    console.expect(FAILED_REQUEST)
    demo.open("/demo/?service=127.0.0.1:8000")
    demo.expect_said("No answer from 127.0.0.1:8000")
    assert demo.types() == []
