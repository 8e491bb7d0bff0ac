"""How what a dashboard says is laid out in so many columns of a terminal."""

import textwrap
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from service.readable import readable

GAP = 2
TEXT_WIDTH = 24
"""What is left of a long text, at least; names, numbers and times are never cut."""


@dataclass(frozen=True)
class Answer:
    """What a dashboard says: rows, or one line that says why there are none."""

    name: str
    question: str
    columns: list[str] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    nothing: str = ""
    has_failed: bool = False

    def cells(self, rows: int) -> list[list[str]]:
        """Return the first rows as they are read."""
        return [
            [readable(*named) for named in zip(self.columns, row, strict=True)]
            for row in self.rows[:rows]
        ]

    def is_fine(self, row: int) -> bool:
        """Tell whether a row needs nobody: its status, if it has one, is ok or not known."""
        return dict(zip(self.columns, self.rows[row], strict=True)).get("status") in ("ok", None)


def long(answer: Answer, rows: int, width: int, *, is_named: bool = False) -> RenderableType:
    """Return a dashboard with space around it. Where it is too wide, one that was named is shown
    as records, which leave nothing out; another without its last columns.
    """
    title = Text.assemble((answer.name, "bold cyan"), "  ", answer.question)
    if not answer.rows:
        return Group(title, Text(f"  {answer.nothing}\n", "red" if answer.has_failed else "dim"))
    made, left_out = table(answer, rows, width)
    more = len(answer.rows) - rows
    notes = [f"  and {more:,} more (--rows)\n"] if more > 0 else []
    if left_out and is_named:
        return Group(title, "", records(answer, rows), Text("".join(notes), "dim"))
    if left_out:
        notes.append(f"  without {', '.join(left_out)}: `ops {answer.name}` shows them\n")
    return Group(title, made, Text("".join(notes), "dim"))


def short(answer: Answer, rows: int, width: int) -> RenderableType:
    """Return a dashboard in as few lines as there can be: one, where there are no rows."""
    name = Text(answer.name, "bold cyan", no_wrap=True, overflow="ellipsis")
    if not answer.rows:
        return name.append(f"  {answer.nothing}", "red" if answer.has_failed else "not bold dim")
    made, left_out = table(answer, rows, width)
    made.box, made.padding = None, (0, GAP, 0, 0)
    more = len(answer.rows) - rows
    notes = [f"and {more:,} more"] if more > 0 else []
    notes += [f"without {', '.join(left_out)}"] if left_out else []
    below = [Text("; ".join(notes), "dim")] if notes else []
    return Group(name.append(f"  {answer.question}", "not bold default"), made, *below)


def table(answer: Answer, rows: int, width: int) -> tuple[Table, list[str]]:
    """Return the first rows, no wider than that, and the columns that are left out for it."""
    made = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, GAP - 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        header_style="bold",
    )
    cells = answer.cells(rows)
    headings = [
        heading(column, max(len(row[place]) for row in cells))
        for place, column in enumerate(answer.columns)
    ]
    kept = places(answer.columns, headings, cells, width)
    for place in kept:
        made.add_column(
            headings[place],
            justify="left" if is_text(answer, place) else "right",
            # Where there is no room, rich narrows the columns that may wrap; what is in them then
            # does not wrap.
            no_wrap=not may_be_cut(answer.columns[place]),
        )
    for number, row in enumerate(cells):
        shown = [Text(row[place], no_wrap=True, overflow="ellipsis") for place in kept]
        made.add_row(*shown, style="" if answer.is_fine(number) else "yellow")
    return made, [name for place, name in enumerate(answer.columns) if place not in kept]


def places(
    columns: list[str], headings: list[str], cells: list[list[str]], width: int
) -> list[int]:
    """Return which columns are shown: the first, the status, statements, then from the left others
    until one does not fit.
    """
    widths = []
    for place, column in enumerate(columns):
        widest = max(len(row[place]) for row in cells)
        least = min(widest, TEXT_WIDTH) if may_be_cut(column) else widest
        widths.append(max(least, *map(len, headings[place].split("\n"))))
    first = [0, *(place for place, column in enumerate(columns) if column == "status")]
    first += [place for place, column in enumerate(columns) if may_be_cut(column)]
    kept: list[int] = []
    for place in dict.fromkeys([*first, *range(len(columns))]):
        if kept and sum(widths[other] + GAP for other in kept) + widths[place] > width:
            break
        kept.append(place)
    return sorted(kept)


def records(answer: Answer, rows: int) -> Table:
    """Return rows one below the other, a line for each of their columns."""
    made = Table.grid(padding=(0, GAP, 0, 0))
    made.add_column(style="bold", no_wrap=True)
    made.add_column()
    for number, row in enumerate(answer.cells(rows)):
        if number:
            made.add_row()
        for column, cell in zip(answer.columns, row, strict=True):
            is_cut = may_be_cut(column)
            value = Text(cell, no_wrap=is_cut, overflow="ellipsis" if is_cut else "fold")
            made.add_row(column, value, style="" if answer.is_fine(number) else "yellow")
    return made


def is_text(answer: Answer, place: int) -> bool:
    """Tell whether a column holds texts and names."""
    return all(isinstance(row[place], str | None) for row in answer.rows)


def may_be_cut(column: str) -> bool:
    """Tell whether a column holds sentences or statements, of which the start says enough."""
    return column.rpartition("_")[2] in ("statement", "error", "why")


def heading(column: str, width: int) -> str:
    """Return a column's name on as many lines as its width makes it take."""
    words = column.split("_")
    return textwrap.fill(" ".join(words), max(width, *map(len, words)))
