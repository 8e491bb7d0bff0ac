"""A site of its own that embeds tallymark.js, as its visitors and the database see it."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Page

from tests.browser.support import WAIT_MILLISECONDS, client_server
from tests.support.databases import Database

ALLOW = "data-allow-automation"
HTML = """<!doctype html>
<html lang="en">
<head>
<title>Shop</title>
<link rel="icon" href="data:,">
<script defer src="{service}/tallymark.js" {attributes}></script>
</head>
<body>
<button id="buy" data-tallymark><b>Buy</b></button>
<button id="hidden" data-tallymark="named" onclick="event.stopPropagation()">Named</button>
<button id="other">Not counted</button>
<script>
addEventListener("load", () => {{
  if (location.search) window.tallymark?.track("click", {{ element_id: location.search }});
}});
</script>
</body>
</html>
"""

Row = tuple[str, dict[str, Any]]


class Site:
    """A page on an origin that is not the service's; each address of it is the same page."""

    def __init__(self, context: BrowserContext, database: Database, url: str) -> None:
        self.context = context
        self.url = url
        self._database = database

    def open(self, path: str = "/") -> Page:
        """Open it in a new tab."""
        page = self.context.new_page()
        page.goto(f"{self.url}{path}")
        return page

    def view(self, path: str = "/", title: str = "Shop") -> Row:
        """Return the row of a view."""
        return ("view", {"url": f"{self.url}{path}", "title": title})

    def rows(self) -> list[Row]:
        """Return type and payload of every stored event, oldest first."""
        query = "select event_type::text, payload from events order by timestamp, event_id"
        return [(kind, payload) for kind, payload in self._database.execute(query)]

    def expect_rows(self, *expected: Row) -> None:
        """Wait until these are stored, and nothing else, whatever the order."""
        wanted = counted(expected)
        deadline = time.monotonic() + 2 * WAIT_MILLISECONDS / 1000
        while counted(self.rows()) != wanted and time.monotonic() < deadline:
            time.sleep(0.1)
        stored = counted(self.rows())
        missing, too_many = wanted - stored, stored - wanted
        assert not missing, f"missing of {wanted.total()}: {missing}"
        assert not too_many, f"too many: {too_many}"


def counted(rows: Iterable[Row]) -> Counter[str]:
    """Return how often each row is there."""
    return Counter(json.dumps(row, sort_keys=True) for row in rows)


def click(element_id: str) -> Row:
    """Return the row of a click."""
    return ("click", {"element_id": element_id})


def track(page: Page, *element_ids: str) -> None:
    """Let the page track clicks by itself."""
    page.evaluate(
        "ids => ids.forEach(element_id => tallymark.track('click', { element_id }))",
        list(element_ids),
    )


def waiting(page: Page) -> int:
    """Return how many events the site's storage holds."""
    count: int = page.evaluate(
        "Object.keys(localStorage).filter(key => key.startsWith('tallymark:')).length"
    )
    return count


def expect_waiting(page: Page, count: int) -> None:
    """Wait until the site's storage holds so many events."""
    page.wait_for_function(
        "count => Object.keys(localStorage).filter(key => /^tallymark:/.test(key)).length == count",
        arg=count,
        timeout=2 * WAIT_MILLISECONDS,
    )


@contextmanager
def site_of(folder: Path, service_url: str, attributes: str = ALLOW) -> Iterator[str]:
    """Yield the URL of a site that embeds the script with these attributes."""
    (folder / "index.html").write_text(HTML.format(service=service_url, attributes=attributes))
    with client_server(folder) as url:
        yield url
