"""`python -m service ops --watch`: dashboards that are drawn again and again."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import psycopg
from psycopg import Connection
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from service.database.dashboards import FIRST_TO_LOOK_AT
from service.database.failures import first_line
from service.database.migrations import DatabaseError, connect_or_explain
from service.layout import Answer, short
from service.ops import READ_ONLY, ROWS, answers, choose, screen

WHOLE = 3
"""A dashboard of so few things is shown whole, if it can be."""


def watch(database_url: str, names: Sequence[str], every_seconds: float) -> None:
    """Draw dashboards, or those that change all the time, until the process is told to end.

    Raises OpsError.
    """
    watched = Watch(screen(), database_url, names)
    watched.run(every_seconds)


class Watch:
    """Dashboards on a screen, over a connection that may come and go."""

    def __init__(self, console: Console, database_url: str, names: Sequence[str]) -> None:
        self._console = console
        self._database_url = database_url
        self._names = names
        self._connection: Connection | None = None
        self._answers: list[Answer] = []

    def run(self, every_seconds: float) -> None:
        """Draw until the process is told to end. Raises OpsError."""
        if not self._console.is_terminal:
            while True:
                self._console.print(self._picture(), "")
                time.sleep(every_seconds)
        with Live(console=self._console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(self._picture(), refresh=True)
                time.sleep(every_seconds)

    def _picture(self) -> RenderableType:
        moment = f"{datetime.now(UTC):%H:%M:%S} UTC"
        try:
            self._answers = self._read()
            head = Text(f"{moment}, Ctrl-C ends it", "dim")
        except (psycopg.Error, DatabaseError) as error:
            self._connection = None
            head = Text(f"{moment}, trying again: {first_line(error)}", "red")
        if not self._console.is_terminal:
            width = self._console.width
            return Group(head, *(short(answer, ROWS, width) for answer in self._answers))
        return page(self._console, head, self._answers)

    def _read(self) -> list[Answer]:
        if self._connection is None:
            self._connection = connect_or_explain(self._database_url, **READ_ONLY)
        chosen = choose(self._connection, self._names, look=FIRST_TO_LOOK_AT[0])
        return answers(self._connection, chosen)


def page(console: Console, head: Text, answers: list[Answer]) -> RenderableType:
    """Return as much of what the dashboards say as the window holds, and name those that it does
    not hold.
    """
    for room in range(console.height, 0, -1):
        rows = fitting(console, answers, room)
        shown = [
            short(answer, rows[answer.name], console.width)
            for answer in answers
            if answer.name in rows
        ]
        made = Group(head, *shown, *left_out([a.name for a in answers if a.name not in rows]))
        if lines(console, made) <= console.height:
            break
    return made


def left_out(names: list[str]) -> list[Text]:
    """Return what is said of dashboards that find no room."""
    if not names:
        return []
    count = "1 more dashboard" if len(names) == 1 else f"{len(names)} more dashboards"
    advice = "name those that you want, or make the window larger"
    return [Text(f"and {count}, {', '.join(names)}: {advice}", "dim")]


def fitting(console: Console, answers: list[Answer], room: int) -> dict[str, int]:
    """Return how many rows are shown of each dashboard that fits into so many lines: first those
    of few things, whole, and of the others one row; what is left goes to them in turn.
    """
    rows: dict[str, int] = {}
    for answer in sorted(answers, key=lambda answer: not is_small(answer)):
        least = len(answer.rows) if is_small(answer) else 1
        taken = lines(console, short(answer, least, console.width))
        if taken <= room:
            rows[answer.name] = least
            room -= taken
    while growing := [a for a in answers if a.name in rows and rows[a.name] < len(a.rows)][:room]:
        for answer in growing:
            rows[answer.name] += 1
        room -= len(growing)
    return rows


def is_small(answer: Answer) -> bool:
    """Tell whether a dashboard has few rows, none of which can stand for the others: the last of
    some minutes can.
    """
    return len(answer.rows) <= WHOLE and not any(
        isinstance(row[0], datetime) for row in answer.rows
    )


def lines(console: Console, made: RenderableType) -> int:
    """Return how many lines something takes in the window."""
    return len(console.render_lines(made, pad=False))
