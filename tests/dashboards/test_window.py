"""`python -m service ops` in windows of several sizes: nothing that matters is cut or kept back."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import Connection

from service.database.dashboards import load_dashboards
from tests.counting.breakdowns import BREAKDOWN_LEVELS
from tests.counting.counts import fill
from tests.dashboards.commands import lines_until, printed, watching
from tests.dashboards.rows import rows

DASHBOARDS = {dashboard.name: dashboard.header for dashboard in load_dashboards()}
WATCHED = sorted(name for name, header in DASHBOARDS.items() if header.look == "all the time")
WITHOUT_STATEMENTS = sorted(
    name
    for name, header in DASHBOARDS.items()
    if not {"statement", "last_error", "why"} & header.columns.keys()
)
AGGREGATES = ("event_counts_minute", "event_counts_quarter_hour", "event_counts_daily")


@pytest.fixture
def busy_url(connection: Connection, quiet_url: str) -> str:
    """A database with events of the last days, their aggregates, and what an instance reports."""
    now = datetime.now(UTC)
    fill(connection, str(now - timedelta(days=2)), str(now), "1 minute")
    for name in AGGREGATES:
        connection.execute("call refresh_continuous_aggregate(%s, null, null)", [name])
    connection.execute(
        """
        insert into ingest_minutes
        select date_trunc('minute', now()) - ago * interval '1 minute',
               'web-1.example.internal:4711', 12345, 67, 0, 7.83, 12.5, 99.75, 1234.5
        from generate_series(1, 30) as ago
        """
    )
    return quiet_url


def test_no_name_number_or_time_is_cut(busy_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for width in (80, 100, 160):
        monkeypatch.setenv("COLUMNS", str(width))
        everything = printed(busy_url)
        assert max(map(len, everything.splitlines())) <= width
        for name in AGGREGATES:
            shown = re.findall(rf"^{name} ", everything, re.MULTILINE)
            assert len(shown) >= 2, "in each of its tables"
        assert re.search(r"web-1.example.internal:4711 +12,345 .* 7.83 ms", everything)
        assert "…" not in printed(busy_url, *WITHOUT_STATEMENTS)


def test_what_is_too_wide_loses_its_last_columns_among_others_and_says_so(
    busy_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = list(DASHBOARDS["chunks"].columns)
    for width in (80, 100):
        monkeypatch.setenv("COLUMNS", str(width))
        chunks = printed(busy_url).partition("\nchunks  ")[2].partition("\ndisk_forecast  ")[0]
        (note,) = re.findall(r"(?s)\n  without (.*?): `ops\s+chunks`\s+shows\s+them", chunks)
        left_out = re.split(r",\s+", note)
        kept = len(columns) - len(left_out) - 1
        assert [*columns[:kept], *left_out, "status"] == columns
        assert re.search(r"^events +_hyper_\w+_chunk .* ok +$", chunks, re.MULTILINE)


def test_what_was_named_is_shown_as_records_with_every_column(
    busy_url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    output = printed(busy_url, "chunks", "--rows", "2")
    for column in DASHBOARDS["chunks"].columns:
        assert len(re.findall(rf"^{column} ", output, re.MULTILINE)) == 2
    for row in rows(connection, "chunks")[:2]:
        assert re.search(rf"^chunk +{row['chunk']} *$", output, re.MULTILINE)
    assert re.search(r"^  and \d+ more \(--rows\)$", output, re.MULTILINE)
    monkeypatch.setenv("COLUMNS", "160")
    assert re.search(r"^hypertable +chunk +", printed(busy_url, "chunks"), re.MULTILINE)


def test_watching_says_what_finds_no_room(busy_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for height in (12, 24, 70):
        frame = first_frame(busy_url, height, monkeypatch)
        assert len(frame) == height
        shown = [name for name in WATCHED if any(line.startswith(f"{name}  ") for line in frame)]
        text = " ".join(" ".join(frame).split())
        said = re.search(r"and (\d+) more dashboards?, (.*): name those", text)
        kept_back = re.split(r",\s+", said[2]) if said else []
        assert sorted([*shown, *kept_back]) == WATCHED
        assert not said or int(said[1]) == len(kept_back)
        assert bool(kept_back) == (height < 70)
        assert "--rows" not in "".join(frame)


def test_watching_shows_every_aggregate_where_there_is_room(
    busy_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = first_frame(busy_url, 70, monkeypatch)
    for name in (*AGGREGATES, *BREAKDOWN_LEVELS):
        assert any(line.startswith(f"{name} ") for line in frame)


def test_watching_shows_what_is_empty_in_a_line(
    busy_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = first_frame(busy_url, 24, monkeypatch)
    (locks,) = (place for place, line in enumerate(frame) if line.startswith("locks  "))
    assert frame[locks].rstrip() == "locks  Nothing: nobody waits for a lock."
    assert re.match(r"running_statements  |and ", frame[locks + 1])


def first_frame(url: str, height: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the lines that a window of 80 columns shows."""
    window = {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "80", "LINES": str(height)}
    for name, value in window.items():
        monkeypatch.setenv(name, value)
    with watching(url) as lines:
        seen = "".join(lines_until(lines, "Ctrl-C ends it", times=2))
    _, _, first, _ = seen.split("\x1b[H")  # The cursor goes home before each.
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", first).split("\n")
