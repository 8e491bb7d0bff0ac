"""The operational dashboards: each file of sql/dashboards is a view in the schema ops."""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from psycopg import Connection, errors, sql

from service.database.failures import first_line

DASHBOARDS = Path(__file__).parents[2] / "sql" / "dashboards"

FIRST_TO_LOOK_AT = ("all the time", "daily", "weekly")
"""How often a dashboard can ask to be looked at."""


class DashboardError(Exception):
    """A dashboard can't be applied; the text is one plain line that says why."""


@dataclass(frozen=True)
class Header:
    """What stands at the head of a dashboard's file, and is its view's comment."""

    text: str

    @property
    def question(self) -> str:
        """What the dashboard answers."""
        return self.text.partition("\n")[0]

    @property
    def columns(self) -> dict[str, str]:
        """What each column means, in their order."""
        return dict(re.findall(r"^(\w+) {2,}(\S.*)$", self.text, re.MULTILINE))

    @property
    def look(self) -> str:
        """How often to look at it: one of FIRST_TO_LOOK_AT."""
        return self._line("Look")

    @property
    def urgency(self) -> int:
        """The place of `look` in FIRST_TO_LOOK_AT; what is not there comes last."""
        known = self.look in FIRST_TO_LOOK_AT
        return FIRST_TO_LOOK_AT.index(self.look) if known else len(FIRST_TO_LOOK_AT)

    @property
    def empty(self) -> str:
        """What it means that there are no rows."""
        return self._line("Empty")

    def _line(self, name: str) -> str:
        found = re.search(rf"^{name}: (.*)$", self.text, re.MULTILINE)
        return found[1] if found else ""


@dataclass(frozen=True)
class Dashboard:
    """One file of sql/dashboards."""

    name: str
    statement: bytes

    @property
    def checksum(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.statement).hexdigest()

    @cached_property
    def header(self) -> Header:
        """The comment before the first empty line."""
        lines = self.statement.decode().partition("\n\n")[0].splitlines()
        return Header("\n".join(line.removeprefix("--").removeprefix(" ") for line in lines))


def load_dashboards(folder: Path = DASHBOARDS) -> list[Dashboard]:
    """Return the dashboards of a folder by name, so that one may be made of those before it."""
    return [Dashboard(path.stem, path.read_bytes()) for path in sorted(folder.glob("*.sql"))]


def apply_dashboards(connection: Connection, dashboards: list[Dashboard]) -> list[str]:
    """Make or replace the views whose text is new to the database, and return their names.

    Needs a transaction that holds the migrations' lock. A text that was applied before stays
    replaced: an instance of an older release that starts beside newer ones changes nothing back.
    Raises DashboardError, and what psycopg raises.
    """
    new = [dashboard for dashboard in dashboards if not _is_applied(connection, dashboard)]
    for dashboard in new:
        _apply(connection, dashboard)
    return [dashboard.name for dashboard in new]


def _is_applied(connection: Connection, dashboard: Dashboard) -> bool:
    cursor = connection.execute(
        """
        select from schema_dashboards
        where name = %(name)s and checksum = %(checksum)s
          and exists (select from pg_views where schemaname = 'ops' and viewname = %(name)s)
        """,
        {"name": dashboard.name, "checksum": dashboard.checksum},
    )
    return cursor.fetchone() is not None


def _apply(connection: Connection, dashboard: Dashboard) -> None:
    try:
        connection.execute(dashboard.statement)
    except errors.InvalidTableDefinition as error:
        raise DashboardError(
            f"The dashboard {dashboard.name} can't be changed like that: {first_line(error)}. "
            "Columns can only be appended, since others build on them; for another change, "
            "drop the view in a migration."
        ) from None
    _comment(connection, dashboard)
    connection.execute(
        "insert into schema_dashboards (name, checksum) values (%s, %s) on conflict do nothing",
        [dashboard.name, dashboard.checksum],
    )


def _comment(connection: Connection, dashboard: Dashboard) -> None:
    view = sql.Identifier("ops", dashboard.name)
    comment = sql.SQL("comment on view {} is {}")
    connection.execute(comment.format(view, sql.Literal(dashboard.header.text)))
    for column, meaning in dashboard.header.columns.items():
        comment = sql.SQL("comment on column {} is {}")
        name = sql.Identifier("ops", dashboard.name, column)
        connection.execute(comment.format(name, sql.Literal(meaning)))
