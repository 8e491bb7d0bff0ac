"""`python -m service ops`: the dashboards of a database in the terminal."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection, sql
from psycopg.pq import TransactionStatus
from rich.console import Console

from service.database.connections import CONNECTION
from service.database.dashboards import Header
from service.database.failures import first_line
from service.database.migrations import connect_or_explain
from service.layout import Answer, long

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
    database_url: str, names: Sequence[str], *, rows: int = ROWS, picture: Path | None = None
) -> None:
    """Print dashboards, or all of them.

    `picture` is the SVG file to write them to, too. Raises OpsError and DatabaseError.
    """
    console = screen(record=picture is not None)
    try:
        with connect_or_explain(database_url, **READ_ONLY) as connection:
            for answer in answers(connection, choose(connection, names)):
                console.print(long(answer, rows, console.width, is_named=bool(names)))
    except psycopg.Error as error:
        raise OpsError(f"The dashboards can't be read: {first_line(error)}.") from None
    if picture is not None:
        draw(console, picture)


def screen(*, record: bool = False) -> Console:
    """Return where dashboards are printed: a pipe is as wide as COLUMNS says, or PIPE_WIDTH."""
    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    return Console(width=wide, record=record, highlight=False)


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


def answers(connection: Connection, chosen: dict[str, Header]) -> list[Answer]:
    """Return what each dashboard says now."""
    return [read(connection, name, header) for name, header in chosen.items()]


def read(connection: Connection, name: str, header: Header) -> Answer:
    """Return what one dashboard says. What fails is said in its place: it may be the very trouble.

    Raises psycopg.Error when the connection is lost.
    """
    query = sql.SQL("select * from {}").format(sql.Identifier("ops", name))
    try:
        cursor = connection.execute(query)
        found = cursor.fetchall()
    except psycopg.Error as error:
        if connection.info.transaction_status == TransactionStatus.UNKNOWN:
            raise
        return Answer(name, header.question, nothing=first_line(error), has_failed=True)
    nothing = f"Nothing: {header.empty or 'there are no rows'}."
    columns = [column.name for column in cursor.description or ()]
    return Answer(name, header.question, columns, found, nothing)
