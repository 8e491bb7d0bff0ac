"""parse_query: what start_date, end_date, tz, site and event_type mean, and what is refused."""

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from service.analytics.parameters import ZONES, CountQuery, RangeQuery, parse_query, start_of_day
from service.problems import Problem

quick = settings(deadline=None, max_examples=300)

MICROSECOND = timedelta(microseconds=1)
FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)

Range = tuple[datetime | None, datetime | None]


def range_of(**parameters: str) -> Range:
    return parse_query(RangeQuery, urlencode(parameters).encode()).half_open()


def errors_of(query: bytes, model: type[RangeQuery] = CountQuery) -> dict[str, str]:
    with pytest.raises(Problem) as caught:
        parse_query(model, query).half_open()
    assert caught.value.kind.status == 400
    return {error["field"]: error["message"] for error in caught.value.errors}


def start_of(text: str, tz: str = "UTC") -> datetime:
    start, _ = range_of(start_date=text, tz=tz)
    assert start is not None
    return start


def end_of(text: str, tz: str = "UTC") -> datetime:
    _, end = range_of(end_date=text, tz=tz)
    assert end is not None
    return end


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# Both ends


def test_both_ends_may_be_left_out() -> None:
    assert parse_query(CountQuery, b"").half_open() == (None, None)
    assert range_of(start_date="2025-05-28") == (utc("2025-05-28"), None)
    assert range_of(end_date="2025-05-28") == (None, utc("2025-05-29"))


def test_an_end_date_is_inclusive() -> None:
    assert range_of(start_date="2025-05-28", end_date="2025-05-28") == (
        utc("2025-05-28"),
        utc("2025-05-29"),
    )


def test_an_end_instant_is_inclusive() -> None:
    assert end_of("2025-05-28T10:00:00Z") == utc("2025-05-28T10:00:00.000001")


def test_a_date_and_an_instant_may_be_mixed() -> None:
    assert range_of(start_date="2025-05-28", end_date="2025-05-28T00:00:00Z") == (
        utc("2025-05-28"),
        utc("2025-05-28T00:00:00.000001"),
    )


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2025-05-28T09:30:15Z", "2025-05-28T09:30:15"),
        ("2025-05-28t09:30:15z", "2025-05-28T09:30:15"),
        ("2025-05-28T09:30Z", "2025-05-28T09:30"),
        ("2025-05-28T09:30", "2025-05-28T09:30"),
        ("2025-05-28T09:30:15.5Z", "2025-05-28T09:30:15.500000"),
        ("2025-05-28T09:30:15.123456Z", "2025-05-28T09:30:15.123456"),
        ("2025-05-28T09:30:15+02:00", "2025-05-28T07:30:15"),
        ("2025-05-28T09:30:15 02:00", "2025-05-28T07:30:15"),
        ("2025-05-28T09:30:15-09:30", "2025-05-28T19:00:15"),
        ("2025-05-28T09:30:15-00:00", "2025-05-28T09:30:15"),
        ("2025-05-28T00:00:00+23:59", "2025-05-27T00:01:00"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00"),
    ],
)
def test_a_date_time_is_that_instant(text: str, instant: str) -> None:
    assert start_of(text) == utc(instant)
    assert end_of(text) == utc(instant) + MICROSECOND


def test_an_unescaped_plus_means_plus() -> None:
    query = parse_query(RangeQuery, b"start_date=2025-05-28T00:00:00+05:30")
    assert query.half_open()[0] == utc("2025-05-27T18:30:00")


@pytest.mark.parametrize("digits", ["1234567", "123456789", "123456700000001"])
def test_what_is_finer_than_a_microsecond_lies_between_two(digits: str) -> None:
    """Timestamps are whole microseconds: the next one is the first not before it."""
    assert start_of(f"2025-05-28T09:30:15.{digits}Z") == utc("2025-05-28T09:30:15.123457")
    assert end_of(f"2025-05-28T09:30:15.{digits}Z") == utc("2025-05-28T09:30:15.123457")


def test_zeros_behind_the_microsecond_mean_nothing() -> None:
    assert start_of("2025-05-28T09:30:15.123456000Z") == utc("2025-05-28T09:30:15.123456")


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2025",
        "2025-05",
        "2025-5-28",
        "2025-05-28 ",
        " 2025-05-28",
        "2025-02-29",
        "2025-13-01",
        "2025-00-01",
        "2025-05-00",
        "2025-05-32",
        "0000-01-01",
        "10000-01-01",
        "-2025-05-28",
        "+2025-05-28",
        "20250528",
        "2025-W22-3",
        "2025-148",
        "28.05.2025",
        "05/28/2025",
        "1748390400",
        "2025-05-28T",
        "2025-05-28T09",
        "2025-05-28T09:30.5Z",
        "2025-05-28T09:30:15.Z",
        "2025-05-28T09:30:15,5Z",
        "2025-05-28T9:30:15Z",
        "2025-05-28T24:00:00Z",
        "2025-05-28T09:60:00Z",
        "2025-05-28T09:30:60Z",
        "2025-05-28 09:30:15",
        "2025-05-28T09:30:15+2",
        "2025-05-28T09:30:15+02",
        "2025-05-28T09:30:15+0200",
        "2025-05-28T09:30:15+24:00",
        "2025-05-28T09:30:15+02:60",
        "2025-05-28T09:30:15+02:00:00",
        "2025-05-28T09:30:15ZZ",
        "2025-05-28T09:30:15[Europe/Berlin]",
        "2025-05-28T09:30:15 Europe/Berlin",
        "\N{FULLWIDTH DIGIT TWO}025-05-28",
        "2025-05-28T0\N{ARABIC-INDIC DIGIT NINE}:30:15Z",
        "2025\N{MINUS SIGN}05\N{MINUS SIGN}28",
        "2025-05-28\n",
        "2025-05-28\0",
        "2025-05-28T09:30:15Z\n",
        "now()",
        "infinity",
        "'; drop table events; --",
        "2025-05-28' or '1'='1",
    ],
)
@pytest.mark.parametrize("name", ["start_date", "end_date"])
def test_nothing_else_is_a_date(name: str, text: str) -> None:
    errors = errors_of(f"{name}={quote(text)}".encode())
    assert set(errors) == {name}
    assert errors[name].startswith("Must be a date like")


@quick
@given(text=st.text(max_size=40) | st.from_regex(r"\d{4}-\d\d-\d\d[T ]?[\d:.+Z-]{0,20}"))
def test_any_text_is_a_range_or_a_400(text: str) -> None:
    assume(not any("\ud800" <= character <= "\udfff" for character in text))
    try:
        start, _ = parse_query(RangeQuery, urlencode({"start_date": text}).encode()).half_open()
    except Problem:
        return
    assert start is not None
    assert start.utcoffset() == timedelta()


offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timedelta(minutes=minutes))
moments = st.datetimes()


@quick
@given(local=moments, offset=offsets)
def test_any_offset_is_understood(local: datetime, offset: timedelta) -> None:
    text = local.replace(tzinfo=timezone(offset)).isoformat()
    try:
        instant = (local - offset).replace(tzinfo=UTC)
    except OverflowError:
        instant = FIRST if local.year == 1 else LAST
    assert start_of(text) == instant
    assert end_of(text) == (instant + MICROSECOND if FIRST < instant < LAST else end_of(text))


# Start after end


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2025-05-29", "2025-05-28"),
        ("2025-05-29T00:00:00Z", "2025-05-28"),
        ("2025-05-28T10:00:00.000001Z", "2025-05-28T10:00:00Z"),
        ("2025-05-28T10:00:00Z", "2025-05-28T10:00:00+00:01"),
        ("9999-12-31", "0001-01-01"),
        ("2025-05-28", "2025-05-27T23:59:59.999999Z"),
    ],
)
def test_a_start_after_the_end_is_refused(start: str, end: str) -> None:
    errors = errors_of(urlencode({"start_date": start, "end_date": end}).encode())
    assert errors == {"start_date": "Must not be after end_date"}


@quick
@given(first=moments, second=moments)
def test_a_range_is_refused_exactly_when_it_starts_after_its_end(
    first: datetime, second: datetime
) -> None:
    query = urlencode({"start_date": f"{first.isoformat()}Z", "end_date": f"{second.isoformat()}Z"})
    if first > second:
        assert set(errors_of(query.encode())) == {"start_date"}
    else:
        assert parse_query(RangeQuery, query.encode()).half_open()[0] == first.replace(tzinfo=UTC)


# The ends of the calendar


def test_the_first_and_the_last_year_are_understood() -> None:
    assert range_of(start_date="0001-01-01", end_date="9999-12-31") == (FIRST, LAST)


@pytest.mark.parametrize("tz", ["UTC", "Asia/Tokyo", "America/New_York", "Pacific/Kiritimati"])
@pytest.mark.parametrize("text", ["0001-01-01", "0001-01-01T00:00", "9999-12-31T23:59:59.999999"])
def test_what_lies_outside_the_calendar_is_its_nearest_end(text: str, tz: str) -> None:
    nearest = FIRST if text.startswith("0001") else LAST
    assert abs(start_of(text, tz) - nearest) <= timedelta(days=1)
    assert abs(end_of(text, tz) - nearest) <= timedelta(days=2)


@pytest.mark.parametrize(
    ("text", "nearest"), [("0001-01-01T00:00+23:59", FIRST), ("9999-12-31T23:59-23:59", LAST)]
)
def test_an_offset_may_lead_out_of_the_calendar(text: str, nearest: datetime) -> None:
    assert range_of(start_date=text, end_date=text)[0] == nearest


# Time zones


def test_a_day_is_the_zones_day() -> None:
    assert range_of(start_date="2025-05-28", end_date="2025-05-28", tz="Europe/Berlin") == (
        utc("2025-05-27T22:00"),
        utc("2025-05-28T22:00"),
    )


def test_a_date_time_without_offset_is_the_zones() -> None:
    assert start_of("2025-05-28T12:00", "America/New_York") == utc("2025-05-28T16:00")


def test_an_offset_goes_before_the_zone() -> None:
    assert start_of("2025-05-28T12:00:00Z", "America/New_York") == utc("2025-05-28T12:00")


def test_without_zone_and_offset_it_is_utc() -> None:
    assert range_of(start_date="2025-05-28T12:00")[0] == utc("2025-05-28T12:00")


@pytest.mark.parametrize(
    ("day", "tz", "hours"),
    [
        ("2025-03-30", "Europe/Berlin", 23),
        ("2025-10-26", "Europe/Berlin", 25),
        ("2025-04-06", "Australia/Lord_Howe", 24.5),
        ("2018-11-04", "America/Sao_Paulo", 23),
        ("2018-02-17", "America/Sao_Paulo", 25),
        ("2011-12-30", "Pacific/Apia", 0),
        ("2011-12-31", "Pacific/Apia", 24),
        ("1993-08-21", "Pacific/Kwajalein", 0),
        ("1867-10-18", "America/Juneau", 24),
    ],
)
def test_a_day_is_as_long_as_it_was(day: str, tz: str, hours: float) -> None:
    start, end = range_of(start_date=day, end_date=day, tz=tz)
    assert start is not None
    assert end is not None
    assert end - start == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("day", "tz", "instant"),
    [
        # Midnight does not exist: the clock goes from 00:00 to 01:00.
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00"),
        ("2022-03-27", "Asia/Beirut", "2022-03-26T22:00"),
        ("2021-03-28", "Asia/Beirut", "2021-03-27T22:00"),
        ("2019-10-06", "America/Asuncion", "2019-10-06T04:00"),
        ("2023-04-28", "Africa/Cairo", "2023-04-27T22:00"),
        ("2020-03-27", "Asia/Amman", "2020-03-26T22:00"),
        # A gap that begins before midnight: from 23:30 to 00:30.
        ("1919-03-31", "America/Toronto", "1919-03-31T04:30"),
        # The clock is set back over midnight: the day starts when it is first reached.
        ("2006-10-29", "America/St_Johns", "2006-10-29T02:30"),
        # A whole day is skipped: it and the next start at once.
        ("2011-12-30", "Pacific/Apia", "2011-12-30T10:00"),
        ("2011-12-31", "Pacific/Apia", "2011-12-30T10:00"),
    ],
)
def test_a_day_starts_at_its_first_existing_instant(day: str, tz: str, instant: str) -> None:
    assert start_of(day, tz) == utc(instant)


@pytest.mark.parametrize(
    ("text", "tz", "instant"),
    [
        ("2025-03-30T02:00", "Europe/Berlin", "2025-03-30T01:00"),
        ("2025-03-30T02:30", "Europe/Berlin", "2025-03-30T01:30"),
        ("2018-11-04T00:00", "America/Sao_Paulo", "2018-11-04T03:00"),
        ("2011-12-30T12:00", "Pacific/Apia", "2011-12-30T22:00"),
    ],
)
def test_a_time_in_a_gap_moves_forward(text: str, tz: str, instant: str) -> None:
    assert start_of(text, tz) == utc(instant)


@pytest.mark.parametrize(
    ("text", "tz", "instant"),
    [
        ("2025-10-26T02:30", "Europe/Berlin", "2025-10-26T00:30"),
        ("2025-11-02T01:00", "America/New_York", "2025-11-02T05:00"),
        ("2018-02-17T23:30", "America/Sao_Paulo", "2018-02-18T01:30"),
    ],
)
def test_of_a_time_in_a_fold_the_earlier_counts(text: str, tz: str, instant: str) -> None:
    assert start_of(text, tz) == utc(instant)


zones = st.sampled_from(sorted(ZONES))
days = st.dates(date(1850, 1, 1), date(2100, 1, 1))


@quick
@given(day=days, name=zones)
@example(day=date(2011, 12, 30), name="Pacific/Apia")
@example(day=date(1919, 3, 31), name="America/Toronto")
@example(day=date(2018, 11, 4), name="America/Sao_Paulo")
@example(day=date(2006, 10, 29), name="America/St_Johns")
@example(day=date(1844, 12, 31), name="Asia/Manila")
def test_a_day_starts_when_the_zones_clock_first_shows_it(day: date, name: str) -> None:
    zone = ZoneInfo(name)
    start = start_of_day(day, zone)
    assert start.astimezone(zone).date() >= day
    assert (start - MICROSECOND).astimezone(zone).date() < day


@quick
@given(day=days, name=zones)
def test_days_follow_each_other_without_gap_or_overlap(day: date, name: str) -> None:
    following = day + timedelta(days=1)
    assert end_of(day.isoformat(), name) == start_of(following.isoformat(), name)


@quick
@given(local=st.datetimes(datetime(1850, 1, 1), datetime(2100, 1, 1)), name=zones)  # noqa: DTZ001
@example(local=datetime(2025, 3, 30, 2, 30), name="Europe/Berlin")  # noqa: DTZ001
@example(local=datetime(2025, 10, 26, 2, 30), name="Europe/Berlin")  # noqa: DTZ001
def test_a_local_time_is_the_first_instant_that_shows_it(local: datetime, name: str) -> None:
    zone = ZoneInfo(name)
    instant = start_of(local.isoformat(), name)
    shown = instant.astimezone(zone).replace(tzinfo=None)
    exists = shown == local
    assert exists or shown > local
    if exists:
        assert instant <= local.replace(tzinfo=zone, fold=1).astimezone(UTC)


def test_a_skipped_day_is_an_empty_range() -> None:
    start, end = range_of(start_date="2011-12-30", end_date="2011-12-30", tz="Pacific/Apia")
    assert start == end


@pytest.mark.parametrize(
    "tz",
    [
        "Mars/Olympus",
        "europe/berlin",
        "Europe/Berlin ",
        "+02:00",
        "UTC+2",
        "../../../etc/passwd",
        "/etc/localtime",
        "Europe/Berlin\0",
        "Europe",
        ".",
        "x" * 5000,
        "\ufffd",
    ],
)
def test_a_zone_that_is_none_is_refused(tz: str) -> None:
    assert set(errors_of(f"tz={quote(tz)}".encode())) == {"tz"}


def test_every_zone_of_the_iana_database_is_understood() -> None:
    for name in ZONES:
        assert start_of("2025-05-28", name).date() in (date(2025, 5, 27), date(2025, 5, 28))


# The query string


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        (b"start=2025-05-28", {"start"}),
        (b"Start_Date=2025-05-28", {"Start_Date"}),
        (b"start_date%20=2025-05-28", {"start_date "}),
        (b"x=1&y=2", {"x", "y"}),
        (b"%00=1", {"\0"}),
        (b"%ff=1", {"\ufffd"}),
        (b"start_date", {"start_date"}),
        (b"start_date=", {"start_date"}),
        (b"tz=&site=", {"tz", "site"}),
        (b"=", {""}),
        (b"=1", {""}),
        (b"site=1&site=1", {"site"}),
        (b"start_date=2025-05-28&start_date=2025-05-28", {"start_date"}),
        (b"event_type=view&event_type=click", {"event_type"}),
        (b"start_date=x&end_date=y&tz=z&site=w", {"start_date", "end_date", "tz", "site"}),
        (b"start_date=2025-05-28;end_date=2025-05-28", {"start_date"}),
    ],
)
def test_unknown_repeated_and_empty_parameters_are_refused(query: bytes, fields: set[str]) -> None:
    assert set(errors_of(query)) == fields


@pytest.mark.parametrize("value", ["", "purchase", "View", "view ", "view,click", "0", "null"])
def test_an_event_type_is_one_of_three(value: str) -> None:
    assert set(errors_of(f"event_type={quote(value)}".encode())) == {"event_type"}


def test_counts_by_type_take_no_type() -> None:
    assert set(errors_of(b"event_type=view", RangeQuery)) == {"event_type"}


@pytest.mark.parametrize(
    "value",
    ["0", "-1", "32768", "1.0", "1e3", "+1", " 1", "0x1", "\N{FULLWIDTH DIGIT ONE}", "9" * 50],
)
def test_a_site_is_a_whole_number_of_two_bytes(value: str) -> None:
    assert set(errors_of(f"site={quote(value)}".encode())) == {"site"}


@pytest.mark.parametrize("value", [1, 2, 32767])
def test_a_site_is_understood(value: int) -> None:
    assert parse_query(RangeQuery, f"site={value}".encode()).site == value


def test_what_is_wrong_with_a_long_query_is_told_in_a_few_kilobytes() -> None:
    with pytest.raises(Problem) as caught:
        parse_query(CountQuery, b"&".join(b"x%d=1" % n for n in range(9000)) + b"&" + b"y" * 60_000)
    assert len(str(caught.value.document())) < 10_000


@quick
@given(query=st.binary(max_size=60))
def test_any_query_string_is_a_query_or_a_400(query: bytes) -> None:
    with suppress(Problem):
        parse_query(CountQuery, query).half_open()
