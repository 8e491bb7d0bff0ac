"""Rows of dashboards, by the names of their columns."""

import time
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import dict_row

Row = dict[str, Any]


def rows(connection: Connection, dashboard: str) -> list[Row]:
    """Return what a dashboard says now."""
    query = sql.SQL("select * from {}").format(sql.Identifier("ops", dashboard))
    return connection.cursor(row_factory=dict_row).execute(query).fetchall()


def matching(connection: Connection, dashboard: str, **values: object) -> list[Row]:
    """Return the rows of a dashboard that have some values."""
    return [row for row in rows(connection, dashboard) if values.items() <= row.items()]


def only_row(connection: Connection, dashboard: str, **values: object) -> Row:
    """Return the one row of a dashboard that has some values."""
    (row,) = matching(connection, dashboard, **values)
    return row


def awaited_row(connection: Connection, dashboard: str, **values: object) -> Row:
    """Return a row of a dashboard that has some values, once there is one."""
    deadline = time.monotonic() + 30
    while not (found := matching(connection, dashboard, **values)):
        assert time.monotonic() < deadline, f"{dashboard} has no row with {values}"
        time.sleep(0.05)
    return found[0]
