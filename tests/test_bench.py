"""The benchmarks run, and notice a wrong answer; what they measure is for people to judge."""

import json
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from loadtest.bench import counts
from loadtest.bench.__main__ import app
from loadtest.bench.bars import Bar, bars
from loadtest.bench.beside import beside
from loadtest.bench.figures import Figures, percentile
from loadtest.bench.loading import load
from loadtest.bench.phases import BESIDE_WRITER, Measured
from loadtest.bench.ranges import OF_DAYS, Window
from loadtest.bench.sets import SPREAD_DAYS, chosen
from loadtest.bench.truth import Timestamps, Truth, read_back, within
from loadtest.bench.ways import BASELINES, OURS, ours
from service.events import EVENT_TYPES, EventType
from tests.support.databases import Database
from tests.support.events import make_event

ROOT = Path(__file__).parents[1]
WINDOW = Window(datetime(2026, 1, 2, 3, 4, tzinfo=UTC), datetime(2026, 1, 24, 3, 4, tzinfo=UTC))
FEW = (
    *("--ranges", "4", "--baselines", "2", "--seconds", "0.2"),
    *("--dense-minutes", "1", "--settle-seconds", "0.2"),
)
OFF_BY_ONE = """
create or replace function event_counts(
    range_start timestamptz default '-infinity',
    range_end   timestamptz default 'infinity',
    site        smallint    default 1
)
returns table (event_type event_type, event_count bigint)
language sql volatile
as $$
    select event_type, sum(event_count)::bigint + (event_type = 'click')::int
    from event_counts_parts(range_start, range_end, '{}', site) group by event_type
$$
"""


def run(*arguments: str) -> str:
    """Return what a benchmark prints."""
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.bench", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_spool_runs() -> None:
    assert "SQLite / segments" in run("spool", "--rounds", "1")


def test_growth_runs(tmp_path: Path) -> None:
    figures, plot = tmp_path / "growth.json", tmp_path / "growth.svg"
    options = ("--sizes", "0.005", "--connections", "1,4", "--seconds", "0.3")
    assert "yes" in run("growth", *options, "--json", str(figures), "--plot", str(plot))
    found = json.loads(figures.read_text())
    assert [one["connections"] for one in found["runs"]] == [1, 4, 4]
    assert all(one["is_kept"] and one["errors"] == 0 for one in found["runs"])
    assert found["disk"]["5000"]["as_columns"] < found["disk"]["5000"]["as_rows"]
    ElementTree.parse(plot)


def test_writes_run() -> None:
    assert "COPY / INSERT" in run("writes", "--rounds", "1")


def test_refreshes_run() -> None:
    said = run("refreshes", "--events", "3000", "--seconds", "17")
    assert "refresh of event_counts_minute" in said
    assert "beside a refresh" in said


def test_counts_leave_figures_of_checked_answers_and_a_plot(tmp_path: Path) -> None:
    said = run("counts", "--sizes", "0.002", *FEW, "--out", str(tmp_path))

    result = json.loads((tmp_path / "counts.json").read_text())
    assert result["options"]["sizes"] == "0.002"
    assert [found["events"] for found in result["sets"]] == [2000, 60_000]
    for found in result["sets"]:
        assert found["written"] > 0
        kinds = {row["ranges"] for row in found["rows"]}
        in_sql = [row for row in found["rows"] if row["per_second"] is None]
        assert len(in_sql) == len(kinds) * (3 + len(BASELINES))
        for row in in_sql:
            assert row["answers"] == (2 if row["way"] in BASELINES else 4)
        assert {row["phase"] for row in found["rows"]} == {
            *("beside a writer", "1 over HTTP", "50 over HTTP", "everything at once", "at rest"),
        }
        # All but those ending now are of what nobody writes to any more.
        quiet = {row["pinned"] for row in found["rows"] if row["phase"] == "at rest"}
        assert quiet == {4}
    assert len(result["bars"]) == 6
    assert "100.00%, at least 100: met" in said
    text = "".join(ElementTree.parse(tmp_path / "counts.svg").getroot().itertext())
    assert all(words in text for words in ("2,000", OURS, *BASELINES))


def test_a_wrong_answer_is_noticed(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(OFF_BY_ONE)

    @contextmanager
    def broken_database() -> Iterator[tuple[str, str]]:
        yield database_url, "a server that counts a click too many"

    monkeypatch.setattr(counts, "fresh_database", broken_database)
    arguments = ("counts", "--sizes", "0.002", *FEW, "--dense-minutes", "0")
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path)])

    assert result.exit_code == 1
    assert "WRONG: 2,000 events over 22 days: beside a writer, 20 days: " in result.stdout
    assert "WRONG: 2,000 events over 22 days: 50 over HTTP, microsecond edges: " in result.stdout
    assert "at least 100: NOT MET" in result.stdout
    rows = json.loads((tmp_path / "counts.json").read_text())["sets"][0]["rows"]
    assert {row["way"] for row in rows if row["wrong"]}.isdisjoint(BASELINES)


@pytest.mark.parametrize("sizes", ["", "1,x", "0", "-1", "nan", "1000"])
def test_sizes_that_are_none_are_refused(sizes: str) -> None:
    result = CliRunner().invoke(app, ["counts", "--sizes", sizes])
    assert result.exit_code == 2
    assert "--sizes" in result.stderr


def test_each_size_is_once_and_flags_add_to_them() -> None:
    plain = chosen(
        [16, 0.5, 16],
        hundred_million=False,
        three_years=False,
        dense_minutes=0,
        settle_seconds=0,
    )
    assert [at.events for at in plain] == [500_000, 16_000_000]
    full = chosen(
        [1, 16], hundred_million=True, three_years=True, dense_minutes=180, settle_seconds=90
    )
    assert [(at.events, at.length.days) for at in full] == [
        (1_000_000, SPREAD_DAYS),
        (16_000_000, SPREAD_DAYS),
        (100_000_000, SPREAD_DAYS),
        (16_000_000, 1097),
        (10_800_000, 0),
    ]


def test_what_is_loaded_is_counted_alike_in_every_way(database: Database, no_events: None) -> None:
    url = database.info.dsn
    load(url, 3000, WINDOW, seed=7)

    assert database.execute(
        "select count(*), min(timestamp) >= %s, max(timestamp) < %s from events",
        (WINDOW.first, WINDOW.until),
    ).fetchone() == (3000, True, True)
    truth = read_back(url, WINDOW)
    assert truth.total() == 3000
    chance = random.Random(7)
    for kind in OF_DAYS.values():
        for _ in range(5):
            bounds = kind(WINDOW, chance)
            stored = database.execute(
                "select event_type::text, count(*) from events "
                "where timestamp >= %s and timestamp < %s group by event_type",
                bounds,
            ).fetchall()
            assert truth.count(bounds) == ours(database, bounds) == Counter(dict(stored))
            # The last day is not in the daily aggregate yet: what is made by hand would miss it.
            for way in BASELINES.values() if bounds[1] <= WINDOW.until else ():
                assert way(database, bounds) == Counter(dict(stored)).total()


def test_loaded_ids_are_of_version_7_and_of_their_events_millisecond(
    database: Database, no_events: None
) -> None:
    load(database.info.dsn, 200, WINDOW, seed=7)
    rows = database.execute("select event_id, timestamp from events").fetchall()
    assert len({event_id for event_id, _ in rows}) == 200
    for event_id, timestamp in rows:
        assert event_id.version == 7
        assert event_id.int >> 80 == round(timestamp.timestamp() * 1000)


@pytest.mark.parametrize("name", OF_DAYS)
def test_ranges_begin_before_they_end_and_in_the_window(name: str) -> None:
    chance = random.Random(name)
    for _ in range(200):
        start, end = OF_DAYS[name](WINDOW, chance)
        assert WINDOW.first <= start < end
        assert end <= WINDOW.until or name == "ending now"
        if name in ("day edges", "minute edges"):
            width = 86_400 if name == "day edges" else 60
            assert start.timestamp() % width == end.timestamp() % width == 0


SECONDS = st.integers(0, 30)


@given(st.lists(st.tuples(SECONDS, st.sampled_from(EVENT_TYPES))), SECONDS, SECONDS)
def test_timestamps_count_as_a_list_does(
    moments: list[tuple[int, EventType]], one: int, two: int
) -> None:
    at = [WINDOW.first + timedelta(seconds=second) for second in range(31)]
    found = Timestamps()
    found.add(make_event(at[second], event_type=kind) for second, kind in moments)
    start, end = sorted((one, two))
    wanted = Counter(kind for second, kind in moments if start <= second < end)
    assert found.count((at[start], at[end])) == wanted
    assert found.total() == len(moments)


def test_what_is_being_written_may_be_counted_and_what_is_committed_must() -> None:
    truth = Truth(Timestamps())
    bounds = WINDOW.first, WINDOW.until
    one, other = make_event(WINDOW.first), make_event(WINDOW.first, event_type="click")
    with truth.writing([one]):
        assert (truth.at_least(bounds), truth.at_most(bounds)) == (Counter(), Counter(view=1))
    with pytest.raises(TimeoutError), truth.writing([other]):
        raise TimeoutError
    assert truth.at_least(bounds) == Counter(view=1)
    assert truth.at_most(bounds) == Counter(view=1, click=1)


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (Counter(view=2), True),
        (Counter(view=3, click=1), True),
        (Counter(view=1, click=1), False),
        (Counter(view=2, location=1), False),
        (2, True),
        (4, True),
        (1, False),
        (5, False),
    ],
)
def test_an_answer_is_compared_by_type(answer: Counter[str] | int, right: bool) -> None:
    assert within(Counter(view=2), answer, Counter(view=3, click=1)) is right


def test_what_goes_on_beside_is_stopped_and_raises() -> None:
    stopped = threading.Event()

    def waits(stop: threading.Event) -> None:
        stop.wait(10)
        stopped.set()

    def fails(stop: threading.Event) -> None:
        raise OSError("no database")

    with pytest.raises(OSError, match="no database"), beside(waits, fails):
        pass
    assert stopped.is_set()


def test_percentiles_are_of_the_values() -> None:
    values = [float(number) for number in range(200, 0, -1)]
    assert [percentile(values, part) for part in (50, 99, 100)] == [100, 198, 200]
    assert percentile([7.0], 50) == 7


def measured(events: int, days: float, **milliseconds: float) -> Measured:
    """Return figures of all kinds of ranges, each median what is given for the way, or 1."""
    found = Measured("", events, days, "", {}, 100, {})
    for kind in OF_DAYS:
        for way in (OURS, *BASELINES):
            figures = Figures(milliseconds=[milliseconds.get(way.split()[0], 1.0)])
            found.note(figures.row(BESIDE_WRITER, kind, way), figures)
    return found


def test_bars_are_of_16_million_events_and_the_smallest_size() -> None:
    every = [
        measured(1_000_000, SPREAD_DAYS),
        measured(16_000_000, SPREAD_DAYS, **{OURS: 1.4}, raw=700.0),
        measured(100_000_000, SPREAD_DAYS, **{OURS: 9.0}),
        measured(16_000_000, 1097, **{OURS: 9.0}),
        measured(3_600_000, 1 / 24, **{OURS: 3.0}),
    ]
    assert [(bar.figure, bar.met) for bar in bars(every)] == [
        (1.4, True),
        (1.4, True),
        (pytest.approx(500), True),
        (1.4, True),
        (3.0, False),
        (3.0, True),
        (100, True),
    ]


@pytest.mark.parametrize(
    ("bar", "met"),
    [
        (Bar("one", 1.5, 1.5), True),
        (Bar("one", 1.6, 1.5), False),
        (Bar("one", 300, 300, at_least=True), True),
        (Bar("one", 299, 300, at_least=True), False),
    ],
)
def test_a_bar_is_met_up_to_its_limit(bar: Bar, met: bool) -> None:
    assert bar.met is met
    assert str(bar).endswith("NOT MET") is not met
