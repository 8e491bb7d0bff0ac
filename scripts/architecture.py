#!/usr/bin/env python3
"""Draws docs/images/architecture.svg: how an event is stored, and how it is counted."""

from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "architecture.svg"
WIDTH, HEIGHT = 1000, 400
LINE = 17
INK, PAPER = "#1f2933", "#ffffff"
SENDER, SERVICE, DATABASE, READER = "#fdf3d8", "#dcebfa", "#def3e6", "#efe5fa"

TEMPLATE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" text-anchor="middle"
 font-family="system-ui, sans-serif" font-size="13">
<title>How an event is stored, and how it is counted</title>
<style>
text{{fill:{INK}}}
.name{{font-weight:600;font-size:15px}}
.note{{font-size:12px;fill:#52606d}}
rect{{stroke:#9aa5b1}}
.frame{{fill:none;stroke-dasharray:5 4}}
path{{stroke:#52606d;stroke-width:1.5;fill:none}}
#tip path{{fill:#52606d;stroke:none}}
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8"
 orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>
<rect width="{WIDTH}" height="{HEIGHT}" rx="12" style="fill:{PAPER};stroke:none"/>
{content}
</svg>
"""


class Box(NamedTuple):
    """A box at a place: its first line is its name."""

    x: int
    y: int
    width: int
    height: int
    fill: str
    text: str


BOXES = {
    "senders": Box(20, 60, 140, 110, SENDER, "Senders\ntallymark.js\nservice workers\nbackends"),
    "ingest": Box(
        230, 60, 170, 110, SERVICE, "Ingest\none validation\ngroup commit\n202 after COMMIT"
    ),
    "spool": Box(
        230, 235, 170, 90, SERVICE, "Spool\nfsync on the local disk\nreplayed later, once"
    ),
    "events": Box(
        470, 60, 150, 110, DATABASE, "events\nhypertable\na chunk a day\ncolumns after 8 days"
    ),
    "levels": Box(470, 235, 150, 90, DATABASE, "Aggregates\nminutes to days,\nand what is stale"),
    "counting": Box(
        680,
        147,
        140,
        110,
        DATABASE,
        "event_counts()\nlevels where right,\nrows for the rest:\nexact",
    ),
    "api": Box(865, 60, 115, 90, READER, "API\nGET /analytics\nGET /events"),
    "pages": Box(865, 245, 115, 90, READER, "Dashboard\nGrafana\npsql"),
}

ARROWS = [
    ("senders", "ingest", "POST"),
    ("ingest", "events", "COPY"),
    ("ingest", "spool", "database away"),
    ("spool", "events", ""),
    ("events", "levels", "refresh"),
    ("events", "counting", ""),
    ("levels", "counting", ""),
    ("counting", "api", ""),
    ("counting", "pages", ""),
]

FRAMES = [("Service (Python, Starlette)", 215, 200), ("TimescaleDB", 455, 380)]


def box(one: Box) -> str:
    """Return a box with its text."""
    name, *lines = one.text.split("\n")
    top = one.y + (one.height - LINE * len(lines)) / 2
    middle = one.x + one.width / 2
    texts = [f'<text x="{middle:g}" y="{top:g}" class="name">{escape(name)}</text>']
    for number, line in enumerate(lines, 1):
        texts.append(f'<text x="{middle:g}" y="{top + LINE * number:g}">{escape(line)}</text>')
    x, y, width, height, fill = one[:5]
    shape = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{fill}"/>'
    return "\n".join([shape, *texts])


def arrow(start: Box, end: Box, text: str) -> str:
    """Return an arrow between the sides of two boxes that face each other."""
    if end.x >= start.x + start.width:
        x1, y1 = float(start.x + start.width), start.y + start.height / 2
        x2, y2 = float(end.x), end.y + end.height / 2
    else:
        x1 = x2 = start.x + start.width / 2
        y1, y2 = float(start.y + start.height), float(end.y)
    line = f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" marker-end="url(#tip)"/>'
    if not text:
        return line
    upright = x1 == x2
    x, y = (x1 + 6, (y1 + y2) / 2 + 4) if upright else ((x1 + x2) / 2, (y1 + y2) / 2 - 7)
    anchor = ' style="text-anchor:start"' if upright else ""
    return f'{line}\n<text x="{x:g}" y="{y:g}" class="note"{anchor}>{escape(text)}</text>'


def frame(title: str, x: int, width: int) -> str:
    """Return what surrounds the boxes of one program."""
    return (
        f'<rect x="{x}" y="18" width="{width}" height="{HEIGHT - 46}" rx="12" class="frame"/>\n'
        f'<text x="{x + width / 2:g}" y="41" class="note">{escape(title)}</text>'
    )


def picture() -> str:
    """Return the whole as SVG."""
    content = "\n".join(
        [
            *(frame(*one) for one in FRAMES),
            *(arrow(BOXES[start], BOXES[end], text) for start, end, text in ARROWS),
            *(box(one) for one in BOXES.values()),
        ]
    )
    return TEMPLATE.format(content=content, WIDTH=WIDTH, HEIGHT=HEIGHT, INK=INK, PAPER=PAPER)


if __name__ == "__main__":
    PICTURE.write_text(picture())
