"""The sample data is what a site makes, and its script loads all of it or none."""

import hashlib
import importlib.util
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from math import cos, hypot, radians
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import psycopg
import pytest
from faker import Faker
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import Connection, errors
from typer.testing import CliRunner

from service import sample_data
from service.events import MICROSECONDS, Event, parse_event
from service.ingest.encoding import encode_copy, encode_copy_stream
from service.sample_data import generate
from service.sample_data.audience import CITIES, Audience
from service.sample_data.draws import Draws
from service.sample_data.site import ORIGIN, Page, build_site
from service.sample_data.visits import Draft, Visits

SCRIPT = Path(__file__).parents[1] / "scripts" / "generate_events.py"

MAY: dict[str, Any] = {"start": date(2025, 5, 1), "end": date(2025, 5, 29)}
DAY = 86_400 * MICROSECONDS
SAMPLE_EVENTS = 60_000


def made(events: int, **options: Any) -> list[Event]:
    batches = generate(events=events, **(MAY | options))
    return [event for batch in batches for event in batch]


@pytest.fixture(scope="module")
def sample() -> list[Event]:
    return made(SAMPLE_EVENTS, seed=1)


# --- The same arguments, the same events ----------------------------------------------------------


def test_a_seed_decides_the_data() -> None:
    assert made(3000, seed=7) == made(3000, seed=7)
    assert made(3000, seed=7) != made(3000, seed=8)
    assert made(3000, seed=1) != made(3000, seed=-1)


def test_hash_seed_zone_and_clock_change_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, time; from datetime import date; time.time = time.time_ns = lambda: 0\n"
        "from service.sample_data import generate; from service.ingest.encoding import *\n"
        "batches = generate(events=3000, start=date(2025, 5, 1), end=date(2025, 5, 29), seed=7)\n"
        "sys.stdout.buffer.write(b''.join(encode_copy_stream(batches)))"
    )
    expected = hashlib.sha256(encode_copy(made(3000, seed=7))).hexdigest()
    for hash_seed, zone in (("1", "Asia/Tokyo"), ("2", "America/New_York")):
        environment = os.environ | {
            "PYTHONHASHSEED": hash_seed,
            "TZ": zone,
            "PYTHONPATH": str(SCRIPT.parents[1]),
        }
        result = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            check=True,
        )
        assert hashlib.sha256(result.stdout).hexdigest() == expected


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = made(5000, seed=3)
    monkeypatch.setattr(sample_data, "BATCH_EVENTS", 17)
    batches = list(generate(events=5000, seed=3, **MAY))
    assert len(batches) > 100
    assert [event for batch in batches for event in batch] == expected


def test_a_stream_of_batches_is_one_copy() -> None:
    events = made(40)
    batches = iter([events[:10], [], events[10:]])
    assert b"".join(encode_copy_stream(batches)) == encode_copy(events)


# --- What was asked for, exactly ------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(
    events=st.integers(1, 1500),
    start=st.dates(date(1970, 1, 1), date(2100, 1, 1)),
    days=st.integers(0, 400),
    users=st.one_of(st.none(), st.integers(1, 10**12)),
    seed=st.integers(),
)
def test_any_arguments_give_so_many_valid_events_in_order_within_the_days(
    events: int, start: date, days: int, users: int | None, seed: int
) -> None:
    found = made(events, start=start, end=start + timedelta(days=days), users=users, seed=seed)
    first = (start - date(1970, 1, 1)).days * DAY
    assert len(found) == events
    assert len({event.event_id for event in found}) == events
    assert all(before.timestamp <= after.timestamp for before, after in pairwise(found))
    assert first <= found[0].timestamp
    assert found[-1].timestamp < first + (days + 1) * DAY
    assert len({event.user_id for event in found}) <= (users or max(1, events // 25))
    for event in found:
        event_id = UUID(bytes=event.event_id)
        assert (event_id.version, event_id.variant) == (7, "specified in RFC 4122")
        assert event.timestamp == (event_id.int >> 80) * 1000


@pytest.mark.parametrize("events", [5000, SAMPLE_EVENTS])
def test_every_day_has_events_the_first_and_last_included(events: int) -> None:
    days = Counter(date.fromordinal(719_163 + event.timestamp // DAY) for event in made(events))
    assert sorted(days) == [date(2025, 5, day) for day in range(1, 30)]
    assert min(days.values()) > 0.5 * events / 29


def test_one_day_is_filled_to_its_last_minutes() -> None:
    found = made(20_000, start=date(2024, 2, 29), end=date(2024, 2, 29))
    minutes = Counter(event.timestamp % DAY // (60 * MICROSECONDS) for event in found)
    assert min(minutes) < 5
    assert max(minutes) == 24 * 60 - 1
    # Visits that midnight cuts short are made up for without a crowd in the last minutes.
    last_hour = [minutes[minute] for minute in range(23 * 60, 24 * 60)]
    assert sum(last_hour[-10:]) < 2 * sum(last_hour) / 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"events": 0}, "There must be at least one event, not 0."),
        ({"users": 0}, "There must be at least one user, not 0."),
        ({"start": date(2025, 6, 1)}, "The start, 2025-06-01, is after the end, 2025-05-29."),
        ({"start": date(1969, 12, 31)}, "The days must lie from 1970-01-01 to 9999-12-30."),
        ({"end": date.max}, "The days must lie from 1970-01-01 to 9999-12-30."),
    ],
)
def test_impossible_arguments_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        generate(**({"events": 10} | MAY | options))


def test_every_event_passes_the_service_s_own_validation(sample: list[Event]) -> None:
    for event in sample:
        body = b'{"user_id":"%s","event_type":"%s","payload":%s}' % (
            event.user_id,
            event.event_type.encode(),
            event.payload,
        )
        parsed = parse_event(body)
        assert (parsed.user_id, parsed.event_type, parsed.site_id) == (
            event.user_id,
            event.event_type,
            event.site_id,
        )
        assert json.loads(parsed.payload) == json.loads(event.payload)


def test_memory_does_not_grow_with_the_number_of_events() -> None:
    def peak(events: int) -> int:
        tracemalloc.start()
        try:
            assert sum(len(batch) for batch in generate(events=events, **MAY)) == events
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(100)  # Faker's own caches
    assert peak(60_000) < 1.3 * peak(15_000)


# --- As a site makes it ---------------------------------------------------------------------------


@pytest.mark.parametrize(("events", "tolerance"), [(5000, 0.03), (SAMPLE_EVENTS, 0.01)])
def test_the_mix_of_types(events: int, tolerance: float) -> None:
    shares = Counter(event.event_type for event in made(events, seed=2))
    assert shares["view"] / events == pytest.approx(0.6, abs=tolerance)
    assert shares["click"] / events == pytest.approx(0.3, abs=tolerance)
    assert shares["location"] / events == pytest.approx(0.1, abs=tolerance)


def test_the_rhythm_of_days_and_weeks(sample: list[Event]) -> None:
    hours = Counter(event.timestamp // (3600 * MICROSECONDS) % 24 for event in sample)
    evening, night = (sum(hours[hour] for hour in range(*span)) for span in ((17, 21), (1, 5)))
    assert evening > 2.5 * night
    # The first of January 1970 was a Thursday. Each weekday of May is there four times.
    weekdays = Counter((event.timestamp // DAY + 3) % 7 for event in sample if not_thursday(event))
    weekend = (weekdays[5] + weekdays[6]) / 2
    working_day = sum(weekdays[day] for day in (0, 1, 2, 4)) / 4
    assert weekend == pytest.approx(0.72 * working_day, rel=0.1)


def not_thursday(event: Event) -> bool:
    return event.timestamp // DAY % 7 != 0


def test_users_come_back_some_more_than_others(sample: list[Event]) -> None:
    moments: dict[bytes, list[int]] = defaultdict(list)
    for event in sample:
        moments[event.user_id].append(event.timestamp)
    half_hour = 1800 * MICROSECONDS
    sessions = sorted(
        1 + sum(after - before > half_hour for before, after in pairwise(times))
        for times in moments.values()
    )
    assert len(sessions) == pytest.approx(SAMPLE_EVENTS / 25, rel=0.1)
    assert sum(count > 1 for count in sessions) > 0.6 * len(sessions)
    tenth = len(sessions) // 10
    assert sum(sessions[-tenth:]) > 4 * sum(sessions[:tenth])
    assert sessions[-1] < 0.02 * sum(sessions)


def test_pages_are_popular_and_rare(sample: list[Event]) -> None:
    views = Counter(json.loads(e.payload)["url"] for e in sample if e.event_type == "view")
    ranked = [count for _, count in views.most_common()]
    assert len(views) > 300
    assert views.most_common(1)[0][0] == f"{ORIGIN}/"
    assert sum(ranked[: len(ranked) // 10]) > 0.5 * sum(ranked)
    # Zipf: the logarithm of the count falls about as that of the rank.
    assert 0.5 * ranked[4] < 2 * ranked[9] < 2 * ranked[4]
    assert ranked[9] > 4 * ranked[99] > 4 * ranked[-1]


def test_locations_lie_around_cities_and_a_user_s_around_one_home(sample: list[Event]) -> None:
    reports: dict[bytes, list[tuple[float, float, float]]] = defaultdict(list)
    for event in sample:
        if event.event_type == "location":
            place = json.loads(event.payload)
            assert 3 <= place["accuracy"] <= 5000
            reports[event.user_id].append(
                (place["latitude"], place["longitude"], place["accuracy"])
            )
    cities = set()
    for places in reports.values():
        best = min(places, key=lambda place: place[2])
        city = min(CITIES, key=lambda city: kilometres(best, (city.latitude, city.longitude)))
        cities.add(city.name)
        assert kilometres(best, (city.latitude, city.longitude)) < 45
        for place in places:
            assert kilometres(best, place) < 0.1 + 4 * (best[2] + place[2]) / 1000
    assert len(cities) == len(CITIES)


def kilometres(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    north, east = one[0] - other[0], (one[1] - other[1]) * cos(radians(one[0]))
    return 111.32 * hypot(north, east)


def test_user_ids_are_one_to_one() -> None:
    audience = Audience(10**12, Faker("en_US"), Draws("audience"))
    numbers = [*range(100_000), *range(10**11, 10**11 + 1000)]
    users = [audience.arrival(hour=12)._replace(number=number) for number in numbers]
    assert len({audience.user_id(user) for user in users}) == len(users)


def test_a_visit_walks_from_page_to_page_and_clicks_what_is_there() -> None:
    faker = Faker("en_US")
    faker.seed_instance(1)
    entries = build_site(faker, Draws("site"))
    pages = {page.view: page for page in every_page(entries)}
    visits = Visits(entries, Audience(500, faker, Draws("audience")), Draws("visits"))
    lengths = Counter[int]()
    for _ in range(3000):
        visit = visits.visit(0, hour=12)
        lengths[sum(event_type == "view" for _, _, event_type, _ in visit)] += 1
        check_walk(visit, pages)
    assert lengths[1] == pytest.approx(900, rel=0.15)
    assert sum(views * count for views, count in lengths.items()) / 3000 > 3


def check_walk(visit: list[Draft], pages: dict[bytes, Page]) -> None:
    begin, user_id, event_type, _ = visit[0]
    assert (begin, event_type) == (0, "view")
    page = pages[visit[0][3]]
    for (time_ms, *_, clicked), (next_ms, next_user, next_type, payload) in pairwise(visit):
        assert 0 < next_ms - time_ms < 30 * 60 * 1000
        assert next_user == user_id
        if next_type == "view":
            targets = [target for link, target in page.links if link == clicked]
            assert not targets or pages[payload] in targets
            page = pages[payload]
        elif next_type == "click":
            assert payload in page.controls or payload in [link for link, _ in page.links]


def every_page(entries: list[Page]) -> set[Page]:
    found, new = set[Page](), set(entries)
    while new:
        found |= new
        new = {target for page in new for _, target in page.links} - found
    return found


# --- The script -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("generate_events", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def run_script(*options: object, database_url: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    if database_url is not None:
        environment["DATABASE_URL"] = database_url
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, options)],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def rows(connection: Connection, query: bytes) -> list[Any]:
    return connection.execute(query).fetchall()


RAW_COUNTS = b"select event_type, count(*) from events group by event_type order by event_type"


def test_it_loads_refreshes_and_shows_what_is_there(
    database_url: str, connection: Connection
) -> None:
    result = run_script("--events", 3000, "--seed", 5, database_url=database_url)
    assert (result.returncode, result.stderr.splitlines()[1:]) == (0, [])
    assert result.stderr.startswith("Loading: 3,000 of 3,000 events")

    stored = rows(
        connection,
        b"select (extract(epoch from timestamp) * 1000000)::bigint, event_id, site_id, user_id, "
        b"event_type::text, payload from events order by timestamp, event_id",
    )
    expected = [
        (
            event.timestamp,
            UUID(bytes=event.event_id),
            1,
            event.user_id.decode(),
            event.event_type,
            json.loads(event.payload),
        )
        for event in sorted(made(3000, seed=5))
    ]
    assert stored == expected

    raw = rows(connection, RAW_COUNTS)
    assert rows(connection, b"select event_type, event_count from event_counts()") == raw
    for level in (b"minute", b"quarter_hour", b"daily"):
        refreshed = b"select sum(event_count)::int from event_counts_%s" % level
        assert rows(connection, refreshed) == [(3000,)]
    check_report(result.stdout, raw)
    for part in result.stdout.split("\n-- ")[1:]:
        printed_statement = part.split("\n", maxsplit=1)[1].split(";\n")[0]
        assert rows(connection, printed_statement.encode())


def test_events_that_are_not_kept_any_more_are_not_loaded(
    database_url: str, connection: Connection
) -> None:
    connection.execute("update retention set retained_from = '2025-05-02'")
    result = run_script("--events", 100, database_url=database_url)
    assert result.returncode == 1
    assert result.stderr == (
        "Events before 2025-05-02 are not kept in this database (RETENTION_DAYS): "
        "choose a later --start.\n"
    )
    assert rows(connection, b"select from events") == []
    later = run_script("--events", 100, "--start", "2025-05-02", database_url=database_url)
    assert later.returncode == 0, later.stderr


def check_report(report: str, raw: list[tuple[str, int]]) -> None:
    """The statements are there, complete, each with its result."""
    parts = [part.split(";\n") for part in report.split("\n-- ")[1:]]
    assert len(parts) == 6
    assert all(len(part) == 2 and "select" in part[0] and "%(" not in part[0] for part in parts)
    (_, totals), (_, mix), (_, counts), *_ = parts
    assert "3000" in totals
    for event_type, count in raw:
        cells = next(line.split() for line in mix.splitlines() if event_type in line)[1::2]
        assert (cells[0], cells[1], cells[3]) == (event_type, str(count), "0")
        assert f"{event_type} " in counts
        assert str(count) in counts


def test_the_same_events_are_refused_and_others_are_added(
    database_url: str, connection: Connection
) -> None:
    days = ("--start", "2025-05-01", "--end", "2025-05-02")
    assert run_script("--events", 500, *days, database_url=database_url).returncode == 0

    again = run_script("--events", 500, *days, "--database-url", database_url, database_url=None)
    assert again.returncode == 1
    assert again.stderr.splitlines()[-1] == (
        "These events are in the database already; another --seed makes others. Nothing was loaded."
    )
    assert rows(connection, b"select count(*) from events") == [(500,)]

    other = run_script("--events", 50, *days, "--seed", 1, database_url=database_url)
    assert other.returncode == 0
    assert rows(connection, b"select count(*) from events") == [(550,)]
    raw = rows(connection, RAW_COUNTS)
    assert rows(connection, b"select event_type, event_count from event_counts()") == raw


SHOW_CURSOR = b"\x1b[?25h"


def test_ctrl_c_leaves_nothing(database_url: str, connection: Connection) -> None:
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, SCRIPT, "--events", "5000000", "--database-url", database_url],
        stdout=subprocess.PIPE,
        stderr=terminal,
        # What a script started in the background ignores SIGINT, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        os.close(terminal)
        shown = b""
        while b",".join(shown.split(b",")[1:2]) == b"" or b" of 5,000,000 events" not in shown:
            shown += os.read(controller, 65_536)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        shown += read_all(controller)
        assert process.wait(30) == 130
    os.close(controller)
    assert b"Traceback" not in shown
    # Before it, the terminal gets its cursor back.
    assert shown.splitlines()[-1].removeprefix(SHOW_CURSOR) == b"Stopped. Nothing was loaded."
    assert rows(connection, b"select count(*) from events") == [(0,)]


def read_all(controller: int) -> bytes:
    """Read a terminal until no process has it open, which Linux reports as an error."""
    found = b""
    try:
        while data := os.read(controller, 65_536):
            found += data
    except OSError:
        pass
    return found


@pytest.mark.native(reason="the embedded server runs one statement at a time")
def test_a_lost_connection_is_one_line(database_url: str, connection: Connection) -> None:
    with subprocess.Popen(
        [sys.executable, SCRIPT, "--events", "5000000", "--database-url", database_url],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        terminate = (
            b"select pg_terminate_backend(pid) from pg_stat_activity "
            b"where datname = current_database() and query like 'copy events%'"
        )
        while not rows(connection, terminate):
            time.sleep(0.1)
        _, shown = process.communicate(timeout=60)
    assert process.returncode == 1
    assert shown.splitlines()[-1].startswith("The connection to the database was lost: ")
    assert shown.splitlines()[-1].endswith("Nothing was loaded.")
    assert "Traceback" not in shown
    assert rows(connection, b"select count(*) from events") == [(0,)]


def test_an_unmigrated_database_is_refused(empty_database_url: str) -> None:
    result = run_script(database_url=empty_database_url)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "The database has not the current schema: run `python -m service migrate` first.\n"
    )


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--events", "0"], "There must be at least one event, not 0."),
        (["--start", "2025-06-01"], "The start, 2025-06-01, is after the end, 2025-05-29."),
        ([], "No database was given: set DATABASE_URL, or give --database-url."),
        (
            ["--database-url", "postgresql://127.0.0.1:1/x"],
            (
                "The database can't be reached: connection failed: connection to server at "
                '"127.0.0.1", port 1 failed: Connection refused. '
                "Is it running, and is its URL right (DATABASE_URL)?"
            ),
        ),
    ],
)
def test_mistakes_are_one_plain_line(script: ModuleType, options: list[str], line: str) -> None:
    result = CliRunner().invoke(script.app, options, env={"DATABASE_URL": None})
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"{line}\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (errors.DiskFull("could not extend file"), "The database's disk is full."),
        (
            errors.OutOfMemory("out of shared memory\nHINT:  …"),
            (
                "The database has not enough memory (out of shared memory); load fewer days at "
                "once, or raise its max_locks_per_transaction."
            ),
        ),
        (
            psycopg.OperationalError("server closed the connection unexpectedly\n\tThis …"),
            "The connection to the database was lost: server closed the connection unexpectedly.",
        ),
        (
            errors.InsufficientPrivilege("permission denied for table events"),
            "The database refused a statement: permission denied for table events.",
        ),
    ],
)
def test_what_the_database_says_is_one_sentence(
    script: ModuleType, error: psycopg.Error, line: str
) -> None:
    assert script.explain(error) == line
