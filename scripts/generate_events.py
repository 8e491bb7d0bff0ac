#!/usr/bin/env python3
"""Load sample events, as a site makes them, into a migrated database, and show that they are there.

All or nothing: they go in by one COPY, which is one transaction.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psycopg
import typer
from psycopg import ClientCursor, Connection, errors
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from service.database.failures import first_line
from service.database.migrations import DatabaseError, connect_or_explain, load_migrations
from service.database.retention import refresh_counts
from service.events import Event
from service.ingest.encoding import COPY_EVENTS, encode_copy_stream
from service.sample_data import generate

# Where TCP_USER_TIMEOUT is set, Linux gives up a server that takes nothing for that long. An event
# can't wait longer, but a bulk load can: for a lock, for a checkpoint. Keepalives stay.
BULK_CONNECTION: dict[str, Any] = {"tcp_user_timeout": 0}

LINE_SECONDS = 5.0

# Each with what it shows.
VERIFICATION = (
    (
        "How many events there are, of how many users, and when",
        """
select count(*) as events, count(distinct user_id) as users,
       min(timestamp) as first, max(timestamp) as last
from events
where timestamp >= %(start)s and timestamp < %(until)s
""",
    ),
    (
        "The mix of types, and payloads that lack what their type must have",
        """
select event_type, count(*) as events,
       round(100 * count(*) / sum(count(*)) over (), 1) as percent,
       count(*) filter (where case event_type
           when 'view' then jsonb_typeof(payload -> 'url') = 'string'
           when 'click' then payload ?| array['element_id', 'text', 'xpath']
           when 'location' then (payload -> 'latitude')::float8 between -90 and 90
               and (payload -> 'longitude')::float8 between -180 and 180
       end is not true) as malformed
from events
where timestamp >= %(start)s and timestamp < %(until)s
group by event_type
order by event_type
""",
    ),
    (
        "The same counts as the API gives them, from the aggregates",
        "\nselect event_type, event_count from event_counts(%(start)s, %(until)s)\n",
    ),
    (
        "How busy the days of the week are",
        """
select to_char(day, 'FMDay') as weekday, round(avg(events)) as events_a_day
from (
    select bucket as day, sum(event_count) as events
    from event_counts_daily
    where bucket >= %(start)s and bucket < %(until)s
    group by bucket
) as day
group by extract(isodow from day), weekday
order by extract(isodow from day)
""",
    ),
    (
        "The columns",
        """
select column_name, data_type, udt_name, is_nullable
from information_schema.columns
where table_schema = 'public' and table_name = 'events'
order by ordinal_position
""",
    ),
    (
        "The first event of each type",
        """
select first_event.*
from unnest(enum_range(null::event_type)) as type (name)
cross join lateral (
    select event_id, user_id, event_type, timestamp, payload
    from events
    where event_type = type.name and timestamp >= %(start)s and timestamp < %(until)s
    order by timestamp
    limit 1
) as first_event
""",
    ),
)


class Outcome(StrEnum):
    """What the database holds of the events, in the operator's words."""

    NOTHING = "Nothing was loaded."
    UNKNOWN = "Whether the events were loaded is not known; run this again to see."
    LOADED = "The events are loaded, and counts of them are exact; the policies refresh the rest."


Window = dict[str, str]
"""The range of the events, as parameters of a statement: from `start`, before `until`."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def parse_day(text: str | date) -> date:
    """Return a day; typer gives the default, too. Raises ValueError."""
    return date.fromisoformat(str(text))


def _day(what: str) -> Any:
    return typer.Option(parser=parse_day, metavar="YYYY-MM-DD", help=what)


@app.command(help=__doc__)
def main(
    events: Annotated[int, typer.Option(help="How many events to make, exactly.")] = 5000,
    start: Annotated[date, _day("The first day, in UTC.")] = date(2025, 5, 1),
    end: Annotated[date, _day("The last day, included.")] = date(2025, 5, 29),
    users: Annotated[
        int | None, typer.Option(help="How many users, at most; else one for 25 events.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Equal seeds and options make equal events.")] = 0,
    database_url: Annotated[
        str | None, typer.Option(help="The database; else that of DATABASE_URL.")
    ] = None,
) -> None:
    """Make the events, load them and report. A failure is one line and a status that is not 0."""
    try:
        batches = generate(events=events, start=start, end=end, users=users, seed=seed)
    except ValueError as error:
        fail(str(error))
    window = {"start": f"{start}T00:00Z", "until": f"{end + timedelta(days=1)}T00:00Z"}
    load = Load()
    try:
        with connect(database_url or os.environ.get("DATABASE_URL")) as connection:
            require_schema(connection)
            require_kept(connection, window)
            with progress(events) as advance:
                load.run(connection, reported(batches, advance))
            # No ANALYZE beside it: it takes 6 s per million events, and no count gets faster by it.
            refresh_counts(connection, window["start"], window["until"])
            verify(connection, window)
    except KeyboardInterrupt:
        fail(f"Stopped. {load.outcome}", status=130)
    except psycopg.Error as error:
        fail(f"{explain(error)} {load.outcome}")
    except DatabaseError as error:
        fail(str(error))


def fail(line: str, status: int = 1) -> NoReturn:
    """End with one plain line for the operator."""
    print(line, file=sys.stderr)
    raise typer.Exit(status)


def connect(database_url: str | None) -> Connection:
    """Return a connection in autocommit mode. Raises DatabaseError."""
    if not database_url:
        raise DatabaseError("No database was given: set DATABASE_URL, or give --database-url.")
    return connect_or_explain(database_url, **BULK_CONNECTION)


def require_schema(connection: Connection) -> None:
    """Raise DatabaseError unless all migrations are applied."""
    try:
        applied = connection.execute("select version from schema_migrations").fetchall()
    except errors.UndefinedTable:
        applied = []
    if not {(migration.version,) for migration in load_migrations()} <= set(applied):
        raise DatabaseError(
            "The database has not the current schema: run `python -m service migrate` first."
        )


def require_kept(connection: Connection, window: Window) -> None:
    """Raise DatabaseError where retention lets events go: they would never be counted."""
    query = "select retained_from() where retained_from() > %(start)s::timestamptz"
    if row := connection.execute(query, window).fetchone():
        raise DatabaseError(
            f"Events before {row[0]:%Y-%m-%d} are not kept in this database (RETENTION_DAYS): "
            "choose a later --start."
        )


class Load:
    """The loading of the events; `outcome` is what a failure leaves behind."""

    def __init__(self) -> None:
        self.outcome = Outcome.NOTHING

    def run(self, connection: Connection, batches: Iterator[list[Event]]) -> None:
        """Write all batches in one transaction. Raises psycopg.Error."""
        try:
            with connection.cursor().copy(COPY_EVENTS) as copy:
                for data in encode_copy_stream(batches):
                    copy.write(data)
                self.outcome = Outcome.UNKNOWN
        except psycopg.Error as error:
            if error.sqlstate is not None:
                # The server itself said no.
                self.outcome = Outcome.NOTHING
            raise
        self.outcome = Outcome.LOADED


@contextmanager
def progress(events: int) -> Iterator[Callable[[int], None]]:
    """Show on stderr how far the loading is; yield what is to be called after so many more."""
    console = Console(stderr=True)
    with bar(events, console) if console.is_terminal else nullcontext(lines(events)) as advance:
        yield advance


@contextmanager
def bar(events: int, console: Console) -> Iterator[Callable[[int], None]]:
    """Show a bar."""
    columns = (
        TextColumn("Loading"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} events"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as shown:
        task = shown.add_task("", total=events)
        yield lambda count: shown.advance(task, count)


def lines(events: int) -> Callable[[int], None]:
    """Print a line now and then, and one at the end."""
    begun = reported = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, reported
        done += count
        now = time.monotonic()
        if done == events or now - reported >= LINE_SECONDS:
            reported = now
            print(f"Loading: {done:,} of {events:,} events, {now - begun:.1f} s", file=sys.stderr)

    return advance


def reported(
    batches: Iterator[list[Event]], advance: Callable[[int], None]
) -> Iterator[list[Event]]:
    """Pass the batches on, and report each when it has been taken."""
    for batch in batches:
        yield batch
        advance(len(batch))


def verify(connection: Connection, window: Window) -> None:
    """Print the verification queries, to be run by hand too, and their results."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    cursor = ClientCursor(connection)
    for what, query in VERIFICATION:
        statement = cursor.mogrify(query, window).strip()
        cursor.execute(statement.encode())
        console.out(f"\n-- {what}\n{statement};", highlight=False)
        console.print(result_table(cursor))


def result_table(cursor: ClientCursor[Any]) -> Table:
    """Return a result as a table."""
    table = Table(*(column.name for column in cursor.description or ()))
    for row in cursor:
        table.add_row(*(Text(as_text(value), overflow="fold") for value in row))
    return table


def as_text(value: object) -> str:
    """Return a value as psql would show it, about."""
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return value.isoformat(" ", "milliseconds") if isinstance(value, datetime) else str(value)


def explain(error: psycopg.Error) -> str:
    """Return what a failed statement means for the operator, in one sentence."""
    match error:
        case errors.UniqueViolation():
            return "These events are in the database already; another --seed makes others."
        case errors.DiskFull():
            return "The database's disk is full."
        case errors.OutOfMemory():
            return (
                f"The database has not enough memory ({first_line(error)}); load fewer days at "
                "once, or raise its max_locks_per_transaction."
            )
        case errors.LockNotAvailable():
            return "The aggregates could not be refreshed: something else is refreshing them."
        case psycopg.OperationalError(sqlstate=None):
            return f"The connection to the database was lost: {first_line(error)}."
        case _:
            return f"The database refused a statement: {first_line(error)}."


if __name__ == "__main__":
    # psycopg logs what it also raises.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    app()
