"""`python -m service ops`: the dashboards of a database in the terminal."""

import os
import re
import sys
import textwrap
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection, sql
from psycopg.pq import TransactionStatus
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from service.database.connections import CONNECTION
from service.database.dashboards import FIRST_TO_LOOK_AT, Header
from service.database.failures import first_line
from service.database.migrations import DatabaseError, connect_or_explain
from service.readable import readable

# A dashboard shall neither change anything nor wait for what it reports on.
READ_ONLY: dict[str, Any] = {
    "application_name": "tallymark ops",
    "options": CONNECTION["options"]
    + " -c default_transaction_read_only=on -c statement_timeout=15s -c lock_timeout=3s",
}
PIPE_WIDTH = 160
ROWS = 10
"""How many rows of each are shown, unless more are asked for."""

HEADERS = """
select relname, coalesce(obj_description(pg_class.oid), '')
from pg_class
where relnamespace = to_regnamespace('ops') and relkind = 'v'
"""


class OpsError(Exception):
    """The dashboards can't be shown; the text is one plain line that says what to do."""


def show(
    database_url: str,
    names: Sequence[str],
    *,
    rows: int = ROWS,
    watch_seconds: float | None = None,
    picture: Path | None = None,
) -> None:
    """Print dashboards, or all of them; with `watch_seconds` again and again until Ctrl-C.

    `picture` is the SVG file to write them to, too. Raises OpsError and DatabaseError.
    """
    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    console = Console(width=wide, record=picture is not None, highlight=False)
    if watch_seconds is not None:
        if picture is not None:
            raise OpsError("A picture is of one moment: give --svg or --watch.")
        Watch(console, database_url, names).run(watch_seconds)
        return
    try:
        with connect_or_explain(database_url, **READ_ONLY) as connection:
            console.print(*tables(connection, choose(connection, names), rows), sep="\n")
    except psycopg.Error as error:
        raise OpsError(f"The dashboards can't be read: {first_line(error)}.") from None
    if picture is not None:
        draw(console, picture)


def draw(console: Console, picture: Path) -> None:
    """Write what was printed to an SVG file. Raises OpsError."""
    drawn = console.export_svg(title="python -m service ops")
    # It would ask the network for its font.
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    try:
        picture.write_text(drawn)
    except OSError as error:
        raise OpsError(f"The picture can't be written to {picture}: {error.strerror}.") from None


def choose(connection: Connection, names: Sequence[str], look: str = "") -> dict[str, Header]:
    """Return the named dashboards, or all that ask to be looked at so often, those first that ask
    for it most often. Raises OpsError.
    """
    known = {name: Header(text) for name, text in connection.execute(HEADERS).fetchall()}
    if not known:
        raise OpsError("The database has no dashboards: run `python -m service migrate` first.")
    for name in names:
        if name not in known:
            raise OpsError(f"There is no dashboard {name}. There are: {', '.join(sorted(known))}.")
    if not names:
        names = sorted(
            (name for name in known if known[name].look.startswith(look)),
            key=lambda name: (known[name].urgency, name),
        )
    return {name: known[name] for name in names}


def tables(connection: Connection, chosen: dict[str, Header], rows: int) -> list[RenderableType]:
    """Return what each dashboard says now, as far as so many rows show it."""
    return [table(connection, name, header, rows) for name, header in chosen.items()]


def table(connection: Connection, name: str, header: Header, rows: int) -> RenderableType:
    """Return one dashboard. What fails is said in its place: it may be the very trouble."""
    title = Text.assemble((name, "bold cyan"), "  ", header.question)
    try:
        query = sql.SQL("select * from {}").format(sql.Identifier("ops", name))
        cursor = connection.execute(query)
        found = cursor.fetchall()
    except psycopg.Error as error:
        if connection.info.transaction_status == TransactionStatus.UNKNOWN:
            raise
        return Group(title, Text(f"  {first_line(error)}\n", "red"))
    if not found:
        return Group(title, Text(f"  Nothing: {header.empty or 'there are no rows'}.\n", "dim"))
    columns = [column.name for column in cursor.description or ()]
    more = len(found) - rows
    note = f"  and {more:,} more (--rows)\n" if more > 0 else ""
    return Group(title, grid(columns, found[:rows]), Text(note, "dim"))


def grid(columns: list[str], found: list[tuple[Any, ...]]) -> Table:
    """Return rows as a table: long texts give way to the rest, what is not ok is in colour."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    cells = [[readable(*named) for named in zip(columns, row, strict=True)] for row in found]
    for position, column in enumerate(columns):
        widest = max(len(row[position]) for row in cells)
        is_text = all(isinstance(row[position], str | None) for row in found)
        made.add_column(
            heading(column, widest),
            justify="left" if is_text else "right",
            # Where there is no room, rich narrows the widest of the columns that may wrap; what is
            # in them then does not wrap.
            no_wrap=not is_text or column == "status",
        )
    for row in cells:
        is_fine = dict(zip(columns, row, strict=True)).get("status", "ok") == "ok"
        made.add_row(
            *(Text(cell, no_wrap=True, overflow="ellipsis") for cell in row),
            style="" if is_fine else "yellow",
        )
    return made


def heading(column: str, width: int) -> str:
    """Return a column's name on as many lines as its width makes it take."""
    words = column.split("_")
    return textwrap.fill(" ".join(words), max(width, *map(len, words)))


class Watch:
    """Dashboards that are drawn again and again, over a connection that may come and go."""

    def __init__(self, console: Console, database_url: str, names: Sequence[str]) -> None:
        self._console = console
        self._database_url = database_url
        self._names = names
        self._connection: Connection | None = None
        self._shown: list[RenderableType] = []

    def run(self, every_seconds: float) -> None:
        """Draw until the process is told to end. Raises OpsError."""
        if not self._console.is_terminal:
            while True:
                self._console.print(self._picture())
                time.sleep(every_seconds)
        with Live(console=self._console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(self._picture(), refresh=True)
                time.sleep(every_seconds)

    def _picture(self) -> RenderableType:
        moment = f"{datetime.now(UTC):%H:%M:%S} UTC"
        try:
            self._shown = self._read()
            return Group(Text(f"{moment}, Ctrl-C ends it\n", "dim"), *self._shown)
        except (psycopg.Error, DatabaseError) as error:
            self._connection = None
            note = f"{moment}, trying again: {first_line(error)}\n"
            return Group(Text(note, "red"), *self._shown)

    def _read(self) -> list[RenderableType]:
        if self._connection is None:
            self._connection = connect_or_explain(self._database_url, **READ_ONLY)
        chosen = choose(self._connection, self._names, look=FIRST_TO_LOOK_AT[0])
        return tables(self._connection, chosen, self._rows(len(chosen)))

    def _rows(self, dashboards: int) -> int:
        """Return how many rows of each fit on the screen, beside the lines around them."""
        if not self._console.is_terminal:
            return ROWS
        return max(self._console.height // dashboards - 5, 1)
