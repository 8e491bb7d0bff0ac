"""`scripts/bench dashboard`: how long a browser takes from navigation to the last part drawn.

Sample events of 22 days up to today, so that presets end in them; each load has an empty cache.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from playwright.sync_api import Browser
from rich.console import Console
from rich.table import Table

from loadtest.bench.figures import percentile
from loadtest.bench.sets import SPREAD_DAYS
from loadtest.databases import fresh_database, load_sample_events, versions
from loadtest.processes import RunError, Service
from tests.browser.chromium import MISSING, find_chromium, running_chromium

PRESETS = ("today", "yesterday", "24h", "7d", "30d", "90d", "month", "12mo", "all")
PARTS = ("figures", "chart", "pages", "elements", "users", "map")

# When each part was painted, in milliseconds since the navigation began. Nothing polls: that would
# let the browser paint all the time.
NOTE = """
window.painted = new Promise((resolve) => {
  const parts = {};
  const note = (part) => {
    parts[part] ??= performance.now();
    if (Object.keys(parts).length === PARTS) resolve(parts);
  };
  new MutationObserver((changes) => {
    for (const { target } of changes) {
      if (target.getAttribute("aria-busy") !== "false") continue;
      requestAnimationFrame(() => setTimeout(() => note(target.id)));
    }
  }).observe(document, { subtree: true, attributeFilter: ["aria-busy"] });
});
""".replace("PARTS", str(len(PARTS)))

Painted = dict[str, float]


def main(
    events: Annotated[float, typer.Option(min=0.001, help="Millions of events.")] = 10,
    loads: Annotated[int, typer.Option(min=1, help="Of each preset.")] = 12,
    presets: Annotated[str, typer.Option(help="With commas between.")] = ",".join(PRESETS),
    tz: Annotated[str, typer.Option(help="The time zone.")] = "Europe/Berlin",
    loaded: Annotated[
        str | None, typer.Option(help="The URL of a database that has the events already.")
    ] = None,
) -> None:
    """Load the dashboard in a headless Chromium, and print how long each part took."""
    executable = find_chromium()
    if executable is None:
        sys.exit(f"tallymark: {MISSING}")
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        with (
            _database(events, loaded) as url,
            _service(url) as base_url,
            running_chromium(executable) as browser,
        ):
            console.print(f"{versions(url)}; Chromium {browser.version}", highlight=False)
            page = f"{base_url}/dashboard/?tz={tz}&range="
            painted_in(browser, f"{page}today")  # What starts, warms up.
            table = _table(tz)
            for preset in presets.split(","):
                found = [painted_in(browser, page + preset) for _ in range(loads)]
                table.add_row(preset, *cells(found))
            console.print(table)
    except RunError as error:
        sys.exit(f"tallymark: {error}")


@contextmanager
def _database(millions: float, loaded: str | None) -> Iterator[str]:
    if loaded is not None:
        yield loaded
        return
    today = datetime.now(UTC).date()
    first = today - timedelta(days=SPREAD_DAYS - 1)
    with fresh_database() as (url, _):
        days = ("--start", str(first), "--end", str(today))
        load_sample_events(url, round(millions * 1e6), *days)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("vacuum (analyze)")
        yield url


@contextmanager
def _service(url: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        service = Service(url, Path(folder) / "service.log")
        with service.running():
            yield service.host


def painted_in(browser: Browser, url: str) -> Painted:
    """Return after how many milliseconds each part was painted, by a browser without a cache."""
    with browser.new_context() as context:
        page = context.new_page()
        page.add_init_script(NOTE)
        page.goto(url, wait_until="commit")
        painted: Painted = page.evaluate("painted")
        return painted


def _table(tz: str) -> Table:
    table = Table("range", *PARTS, "all", "longest", title=f"Median milliseconds, {tz}")
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def cells(found: list[Painted]) -> list[str]:
    """Return the median of each part, and of the last part the median and the longest."""
    whole = [max(painted.values()) for painted in found]
    medians = [percentile([painted[part] for painted in found], 50) for part in PARTS]
    return [f"{value:,.0f}" for value in (*medians, percentile(whole, 50), max(whole))]
