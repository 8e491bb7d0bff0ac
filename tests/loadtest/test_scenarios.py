"""Each scenario starts, loads what it says that it loads, and its check passes."""

from pathlib import Path

import pytest

from loadtest.users_over_time import at_time_of_day, doubled
from tests.loadtest.support import ROOT, Locust

SCENARIOS = sorted(path.stem for path in (ROOT / "loadtest" / "scenarios").glob("*.conf"))
COUNTS = {"GET /analytics/event-counts", "GET /analytics/event-counts-by-type"}
SINGLE, BATCHES = {"POST /events"}, {"POST /events/batch"}
INGEST = SINGLE | BATCHES
LOADS = {
    "steady": SINGLE,
    "batches": BATCHES,
    "resends": INGEST,
    "mixed": SINGLE | COUNTS,
    "counts": COUNTS,
    "ramp": SINGLE,
    "spike": SINGLE | COUNTS,
    "soak": SINGLE | COUNTS,
}


def test_each_scenario_is_tried() -> None:
    assert {*LOADS, "smoke"} == set(SCENARIOS)


@pytest.mark.parametrize("scenario", LOADS)
def test_it_runs(host: str, tmp_path: Path, scenario: str) -> None:
    done = Locust(host, tmp_path, "--users", "200", "--speed", "60", scenario=scenario).finish()
    assert done.exit_code == 0, done.said
    found = {at["name"] for at in done.outcome["endpoints"] if "malformed" not in at["name"]}
    # A run of seconds need not have asked for both counts.
    assert found <= LOADS[scenario]
    assert [bool(found & kind) for kind in (INGEST, COUNTS)] == [
        bool(LOADS[scenario] & kind) for kind in (INGEST, COUNTS)
    ]


def test_a_ramp_doubles_up_to_its_users() -> None:
    assert doubled(1) == [1]
    assert doubled(8) == [1, 2, 4, 8]
    assert doubled(100) == [1, 2, 4, 8, 16, 32, 64, 100]


def test_a_soak_has_quiet_nights_and_busy_evenings() -> None:
    day = [at_time_of_day(hour / 24, 100) for hour in range(24)]
    assert max(day) == 100
    assert min(day) >= 1
    assert day.index(max(day)) > 17
    assert day.index(min(day)) < 6
