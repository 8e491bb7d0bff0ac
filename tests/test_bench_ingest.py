"""`scripts/bench ingest` runs, and knows what has to be stored of what it sends."""

import gzip
import json
import subprocess
import sys
from itertools import cycle, islice
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.bench.ingest import generators
from loadtest.bench.ingest.bars import bars
from loadtest.bench.ingest.cases import CASES, Case
from loadtest.bench.ingest.measuring import Load, Measurement, measure
from loadtest.bench.ingest.requests import (
    Rates,
    Request,
    make_requests,
    refused_of,
    rows_of,
    valid_events_of,
)
from loadtest.bench.ingest.summary import summarize
from service.events import Event, InvalidEventError, parse_event
from service.ingest.batches import parse_batch

ROOT = Path(__file__).parents[1]
FEW = "ceiling-asgi,starlette-pool,ours,gzip-10,copy-1000"
MANY_OF_EACH = Rates(late=0.2, resend=0.2, invalid=0.2)


def test_a_run_leaves_figures_of_what_was_kept_and_a_plot(tmp_path: Path) -> None:
    figures, plot = tmp_path / "ingest.json", tmp_path / "ingest.svg"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "loadtest.bench", "ingest", "--cases", FEW),
            *("--seconds", "0.3", "--rounds", "1", "--connections", "4"),
            *("--late", "0.05", "--resend", "0.1", "--invalid", "0.05"),
            *("--json", str(figures), "--plot", str(plot)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(figures.read_text())
    assert found["settings"]["synchronous_commit"] == "on"
    assert list(found["cases"]) == FEW.split(",")
    for name, case in found["cases"].items():
        [run] = case["runs"]
        assert run["errors"] == 0, done.stdout
        assert run["rows"] == (None if name == "ceiling-asgi" else run["rows_at_most"])
    assert "ours to ceiling-asgi" in done.stdout
    ElementTree.parse(plot)


@pytest.mark.parametrize("generator", ["wrk", "node"])
def test_each_generator_awaits_every_answer(
    generator: generators.Generator, database_url: str
) -> None:
    if generator == "wrk" and generators.available() != "wrk":
        pytest.skip("wrk is not installed")
    load = Load(0.3, 4, Rates(invalid=0.2), generator)
    found = measure(CASES["batch-10"], load, database_url, set())
    assert found.errors == 0
    assert found.rows == found.rows_at_least == found.rows_at_most
    assert 0 < found.p50_ms <= found.p99_ms


@pytest.mark.parametrize(("off_by", "kept"), [(0, True), (1, False), (-1, False)])
def test_a_row_too_few_or_too_many_is_noticed(off_by: int, kept: bool) -> None:
    assert measurement(rows=100 + off_by).is_kept is kept
    assert summarize([measurement(), measurement(rows=100 + off_by)]).is_kept is kept


@pytest.mark.parametrize(("rows", "kept"), [(79, False), (80, True), (100, True), (101, False)])
def test_what_was_not_answered_may_be_stored_or_not(rows: int, kept: bool) -> None:
    assert measurement(rows=rows, errors=20, rows_at_least=80).is_kept is kept


@pytest.mark.parametrize("case", [CASES["ours"], CASES["batch-20"], CASES["gzip-10"]])
def test_requests_hold_what_they_say(case: Case) -> None:
    for request in make_requests(case.batch, zipped=case.gzip, rates=MANY_OF_EACH, events=2000):
        head, _, body = request.wire.partition(b"\r\n\r\n")
        assert b"Content-Length: %d" % len(body) in head
        text = gzip.decompress(body) if case.gzip else body
        events = [one for one in _parsed(case, text) if isinstance(one, Event)]
        given = [event.event_id for event in events if event.id_is_given]
        assert tuple(given) == request.given
        assert len(events) - len(given) == request.fresh
        assert (not events) is request.is_refused


def _parsed(case: Case, text: bytes) -> list[Event | InvalidEventError]:
    if case.batch > 1:
        return parse_batch(text, "application/json")
    try:
        return [parse_event(text)]
    except InvalidEventError as error:
        return [error]


def test_shares_are_about_what_was_asked_for() -> None:
    requests = make_requests(1, zipped=False, rates=MANY_OF_EACH, events=20_000)
    given = [event_id for request in requests for event_id in request.given]
    assert len(requests) == 20_000
    assert 0.18 < sum(request.is_refused for request in requests) / 20_000 < 0.22
    # Late ones, first sendings of what is sent again, and those that are.
    assert 0.56 < len(given) / 20_000 < 0.64
    assert 0.18 < (len(given) - len(set(given))) / 20_000 < 0.22


IDS = st.lists(st.sampled_from([b"1", b"2", b"3", b"4"]), max_size=3).map(tuple)
REQUESTS = st.lists(
    st.builds(Request, wire=st.just(b""), given=IDS, fresh=st.integers(0, 3)),
    min_size=1,
    max_size=6,
)


@given(REQUESTS, st.integers(0, 20))
def test_rows_are_counted_as_a_table_would(requests: list[Request], sent: int) -> None:
    answered = list(islice(cycle(requests), sent))
    stored: set[object] = set()
    for request in answered:
        stored.update(request.given)
        stored.update(object() for _ in range(request.fresh))
    assert rows_of(requests, sent) == len(stored)
    valid = sum(len(request.given) + request.fresh for request in answered)
    assert valid_events_of(requests, sent) == valid
    assert refused_of(requests, sent) == sum(request.is_refused for request in answered)


def measurement(
    case: str = "ours",
    *,
    events_per_second: float = 1000.0,
    errors: int = 0,
    rows: int = 100,
    rows_at_least: int = 100,
) -> Measurement:
    """Return what a run may have found."""
    rates = {"requests_per_second": events_per_second, "events_per_second": events_per_second}
    times = {"p50_ms": 2.0, "p99_ms": 30.0, "program_us": 25.0, "database_us": 9.0}
    times["program_mib"] = 80.0
    return Measurement(
        case, 64, 1.0, **rates, **times, generator_cores=0.5,
        errors=errors, rows=rows, rows_at_least=rows_at_least, rows_at_most=100,
    )  # fmt: skip


def test_bars_are_of_cases_that_were_measured() -> None:
    runs = {"ours": (700.0, 900.0, 800.0), "ceiling-asgi": (1000.0,), "copy-1000": (1.0,)}
    summaries = {
        case: summarize([measurement(case, events_per_second=one) for one in rates])
        for case, rates in runs.items()
    }
    assert [(bar.figure, bar.met) for bar in bars(summaries)] == [
        (0.8, True),
        (25.0, True),
        (2.0, True),
        (30.0, False),
    ]


def test_what_is_sent_at_once_fits_the_queue() -> None:
    assert [CASES[name].connections(64) for name in ("ours", "batch-1000", "batch-10000")] == [
        64,
        20,
        2,
    ]
