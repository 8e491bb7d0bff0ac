"""What was found, and how it is shown."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from rich import box
from rich.table import Table

from service.ops import screen


class Status(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and could be better, or will not work for long."""
    WRONG = "wrong"
    """Events may be lost, or are not counted."""


STYLES = {Status.OK: "green", Status.WARNING: "yellow", Status.WRONG: "bold red"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    check: str
    status: Status
    found: str
    remedy: str = ""
    """What to do; nothing where all is well."""


def ok(check: str, found: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(check, Status.OK, found)


def warning(check: str, found: str, remedy: str) -> Finding:
    """Return that something could be better."""
    return Finding(check, Status.WARNING, found, remedy)


def wrong(check: str, found: str, remedy: str) -> Finding:
    """Return that something must be mended."""
    return Finding(check, Status.WRONG, found, remedy)


def sentence(text: str) -> str:
    """Return a line of a log as a sentence."""
    return f"{text[0].upper()}{text[1:]}."


def show(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print what was found, as a table or as JSON."""
    console = screen()
    if as_json:
        console.out(json.dumps([asdict(finding) for finding in findings], indent=2))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in ("check", "status", "found", "what to do"):
        table.add_column(column, no_wrap=column in {"check", "status"}, overflow="fold")
    for one in findings:
        table.add_row(one.check, one.status, one.found, one.remedy, style=STYLES[one.status])
    console.print(table)
