"""Limits, conservation and saturation, as functions of figures."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.checks.conservation import compare
from loadtest.checks.length import cut_short_after, is_cut_short
from loadtest.checks.limits import (
    EVERY_ENDPOINT,
    Endpoint,
    exceeded_ratios,
    exceeded_times,
    parse_limits,
)
from loadtest.checks.tally import Answer, Tally
from loadtest.report.samples import Sample, Times, bins, percentiles, together
from loadtest.report.saturation import NEAR_THE_MOST, Stage, saturation, stages

names = st.text(st.characters(categories=["L", "N"]) | st.just("/"), min_size=1, max_size=12)
milliseconds = st.floats(0.001, 1e6)
type_counts = st.dictionaries(st.sampled_from(["view", "click"]), st.integers(0, 50))


def endpoint(name: str, *, p95: float = 10, requests: int = 100, failures: int = 0) -> Endpoint:
    """Return the figures of an endpoint."""
    return Endpoint(name, requests, failures, {50: p95 / 2, 95: p95, 99: p95 * 2}, p95 * 3)


@given(st.dictionaries(st.just(EVERY_ENDPOINT) | names.map("POST {}".format), milliseconds))
def test_limits_are_read_as_they_are_written(limits: dict[str, float]) -> None:
    text = " , ".join(f"{name}={most!r}" for name, most in limits.items())
    assert parse_limits(text) == limits


def test_a_bare_number_is_for_every_endpoint() -> None:
    assert parse_limits("250") == {EVERY_ENDPOINT: 250}
    assert parse_limits(" POST  /events = 250 , 100") == {"POST /events": 250, EVERY_ENDPOINT: 100}
    assert parse_limits("") == {}


@pytest.mark.parametrize("text", ["fast", "POST /events", "=5", "a=-1", "a=nan", "a=0", "1,2"])
def test_other_limits_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no limit"):
        parse_limits(text)


def test_an_endpoint_s_own_limit_comes_before_that_of_every_one() -> None:
    found = [endpoint("GET /a", p95=80), endpoint("GET /b", p95=80)]
    (line,) = exceeded_times(found, 95, {"GET /a": 100, EVERY_ENDPOINT: 50})
    assert line == "GET /b: p95 was 80 ms, at most 50 may be"
    assert list(exceeded_times(found, 95, {EVERY_ENDPOINT: 80})) == []
    assert len(list(exceeded_times(found, 99, {EVERY_ENDPOINT: 80}))) == 2


def test_a_limit_that_met_no_request_is_exceeded() -> None:
    (line,) = exceeded_times([endpoint("GET /a")], 95, {"GET /A": 100})
    assert "GET /A" in line
    assert "never requested" in line


@given(st.integers(0, 1000), st.integers(1, 1000), st.floats(0, 1))
def test_a_ratio_is_exceeded_by_more_than_it(failures: int, requests: int, most: float) -> None:
    failures = min(failures, requests)
    lines = list(exceeded_ratios([endpoint("GET /", requests=requests, failures=failures)], most))
    assert bool(lines) == (failures / requests > most)


@given(type_counts, type_counts, type_counts, type_counts, type_counts)
def test_counts_must_move_by_what_was_accepted_and_may_by_what_is_unknown(
    before: dict[str, int],
    accepted: dict[str, int],
    refused: dict[str, int],
    unknown: dict[str, int],
    moved: dict[str, int],
) -> None:
    tally = Tally(
        Counter(accepted) + Counter(refused) + Counter(unknown), Counter(accepted), Counter(refused)
    )
    found = compare(
        Counter(before), Counter(before) + Counter(moved), tally, writes=sum(accepted.values()) > 0
    )
    right = all(
        accepted.get(name, 0) <= moved.get(name, 0) <= accepted.get(name, 0) + unknown.get(name, 0)
        for name in ("view", "click")
    )
    assert (not list(found.violations())) == right


def test_a_run_that_was_to_write_and_had_nothing_accepted_fails() -> None:
    nothing = compare(Counter(), Counter(), Tally(), writes=True)
    assert len(list(nothing.violations())) == 1
    assert not list(compare(Counter(), Counter(), Tally(), writes=False).violations())


@pytest.mark.parametrize(
    ("status", "body", "error", "known"),
    [
        (202, b"{}", None, True),
        (400, b"{}", None, True),
        (503, b'{"title": "Too many events are waiting"}', None, True),
        (503, b'{"event_id": "0196"}', None, False),
        (503, b"from a proxy", None, False),
        (500, b"{}", None, False),
        (302, b"", None, False),
        (0, None, ConnectionRefusedError(), True),
        (0, None, ConnectionResetError(), False),
        (0, None, TimeoutError(), False),
    ],
)
def test_which_answers_leave_an_event_unknown(
    status: int, body: bytes | None, error: Exception | None, known: bool
) -> None:
    tally = Tally(sent=Counter(view=1))
    tally.note(Counter(view=1), [Answer(status, body, error)])
    assert sum(tally.unknown.values()) == (0 if known else 1)
    assert tally.accepted["view"] == (1 if status == 202 else 0)
    assert Tally.of_message(tally.as_message()) == tally


rates = st.dictionaries(st.integers(1, 1000), st.floats(0.1, 1e5), min_size=1)


@given(rates, st.randoms(use_true_random=False))
def test_saturation_is_the_fewest_users_near_the_most(
    rates: dict[int, float], chance: Random
) -> None:
    found = [Stage(users, rate, {}) for users, rate in rates.items()]
    chance.shuffle(found)
    best = saturation(found)
    assert best is not None
    most = max(rates.values())
    assert best.requests_per_second >= NEAR_THE_MOST * most
    assert all(rate < NEAR_THE_MOST * most for users, rate in rates.items() if users < best.users)


def test_there_is_no_saturation_of_nothing() -> None:
    assert saturation([]) is None


def samples_of(*stages: tuple[int, float], seconds: int = 10) -> list[Sample]:
    """Return a sample each second of stages: so many users, so many requests a second."""
    samples: list[Sample] = []
    requests = 0.0
    for users, rate in stages:
        for _ in range(seconds):
            at = float(len(samples))
            times = {"POST /events": {round(rate): 1}}
            samples.append(Sample(at, users, round(requests), 0, times))
            requests += rate
    return samples


def test_stages_are_told_apart_by_their_users_and_measured_without_their_start() -> None:
    samples = samples_of((1, 100), (2, 190), (4, 200), (8, 150))
    found = stages(samples, "POST /events")
    assert [stage.users for stage in found] == [1, 2, 4, 8]
    assert [stage.requests_per_second for stage in found] == pytest.approx([100, 190, 200, 150])
    assert [stage.percentiles[50] for stage in found] == [100, 190, 200, 150]
    best = saturation(found)
    assert best is not None
    assert best.users == 2


def test_stages_that_were_too_short_are_left_out() -> None:
    assert stages(samples_of((1, 100), seconds=4), "POST /events") == []


def of_seconds(seconds: list[dict[int, int]]) -> list[Sample]:
    """Return samples with these times."""
    return [Sample(float(at), 1, 0, 0, {"GET /": times}) for at, times in enumerate(seconds)]


def drawn(samples: list[Sample]) -> list[dict[int, float]]:
    """Return the percentiles of each point of the plot."""
    return [percentiles(together(part, "GET /")) for part in bins(samples)]


def test_one_slow_second_is_drawn() -> None:
    usual: list[dict[int, int]] = [{5: 100}] * 600
    points = drawn(of_seconds([*usual, {900: 100}, *usual]))
    assert [at for at in points if at[99] > 5] == [{50: 5, 95: 900, 99: 900}]


times_of_a_second = st.dictionaries(st.integers(1, 5000), st.integers(1, 300), max_size=5)


@given(st.lists(times_of_a_second, min_size=1, max_size=30))
def test_the_highest_point_is_not_below_the_percentile_of_the_run(
    seconds: list[dict[int, int]],
) -> None:
    samples = of_seconds(seconds)
    run = percentiles(together(samples, "GET /"))
    for percentile, milliseconds in run.items():
        assert max(at[percentile] for at in drawn(samples)) >= milliseconds


@given(st.dictionaries(st.integers(1, 5000), st.integers(1, 300), min_size=1))
def test_a_percentile_has_its_part_of_the_requests_below_or_at_it(times: Times) -> None:
    total = sum(times.values())
    for percentile, milliseconds in percentiles(times).items():
        faster = sum(number for ms, number in times.items() if ms < milliseconds)
        slower = sum(number for ms, number in times.items() if ms > milliseconds)
        assert faster * 100 <= total * percentile
        assert slower * 100 < total * (100 - percentile)


@pytest.mark.parametrize(
    ("seconds", "planned", "interrupted", "cut_short"),
    [
        (2.0, 30, True, True),
        (29.8, 30, True, True),
        (30.1, 30, True, False),
        (29.8, 30, False, False),
        (20.0, 30, False, True),
        (20.0, None, True, True),
        (20.0, None, False, False),
    ],
)
def test_a_run_is_cut_short_where_it_is_shorter_than_planned(
    seconds: float, planned: int | None, interrupted: bool, cut_short: bool
) -> None:
    assert is_cut_short(seconds, planned, interrupted=interrupted) == cut_short


def test_how_short_it_was_is_said() -> None:
    assert cut_short_after(2.04, 30) == "cut short after 2 of 30 s"
    assert cut_short_after(29.7, 3600) == "cut short after 29.7 of 3,600 s"
    assert cut_short_after(5.0, None) == "cut short after 5 s"
