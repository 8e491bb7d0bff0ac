"""Query parameters: checked by pydantic models, made into half-open ranges of instants."""

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)

from service.events import DEFAULT_SITE, EventType
from service.problems import FieldError, Problem, ProblemKind, first_errors

NOTHING = timedelta()
MICROSECOND = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
FIRST_INSTANT = datetime.min.replace(tzinfo=UTC)
LAST_INSTANT = datetime.max.replace(tzinfo=UTC)
# Some machines have a zone of their own among the others.
ZONES = frozenset(available_timezones() - {"localtime"})

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# RFC 3339, with the seconds optional, and the offset too; what stands behind the sixth digit of a
# fraction is finer than any event's timestamp.
_DATE_TIME = re.compile(
    r"(?P<local>\d{4}-\d\d-\d\d[Tt]\d\d:\d\d)"
    r"(?P<seconds>:\d\d(\.(?P<micros>\d{1,6})(?P<finer>\d*))?)?"
    r"(?P<offset>[Zz]|(?P<sign>[+\- ])(?P<hours>\d\d):(?P<minutes>\d\d))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Moment:
    """What start_date or end_date says: a whole day, or an instant; without a zone of its own
    (`local` is naive) it is meant in the query's tz."""

    local: date | datetime
    finer: bool = False
    """Whether the text went beyond microseconds: the instant lies within the one after `local`."""

    def first_instant(self, zone: tzinfo) -> datetime:
        """Return the first microsecond that is not before it, in UTC."""
        if not isinstance(self.local, datetime):
            return start_of_day(self.local, zone)
        return instant(self.local, zone, MICROSECOND * self.finer)

    def end(self, zone: tzinfo) -> datetime:
        """Return the first microsecond behind it, in UTC."""
        if isinstance(self.local, datetime):
            return instant(self.local, zone, MICROSECOND)
        if self.local == date.max:
            return LAST_INSTANT
        return start_of_day(self.local + timedelta(days=1), zone)


def instant(local: datetime, zone: tzinfo, plus: timedelta = NOTHING) -> datetime:
    """Return a local time's instant in UTC; outside the years 1 to 9999, their nearest instant.

    A naive time is meant in `zone`: in a gap it moves forward, in a fold the earlier one counts.
    """
    aware = local if local.tzinfo is not None else local.replace(tzinfo=zone)
    try:
        return aware.astimezone(UTC) + plus
    except OverflowError:
        return FIRST_INSTANT if local.year == 1 else LAST_INSTANT


def start_of_day(day: date, zone: tzinfo) -> datetime:
    """Return the first instant of a day in a zone, in UTC, also where midnight is skipped.

    A gap may begin before midnight; its end is found by bisection, to the second.
    """
    midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - it is meant to be naive

    def reached(moment: datetime) -> bool:
        return moment.astimezone(zone).replace(tzinfo=None) >= midnight

    after = instant(midnight, zone)
    # In a gap, and only there, fold=1 stands for an instant before it (PEP 495).
    before = instant(midnight.replace(fold=1), zone)
    while after - before > SECOND:
        middle = before + ((after - before) // 2 // SECOND) * SECOND
        before, after = (before, middle) if reached(middle) else (middle, after)
    return after


def _moment(value: Any) -> Any:
    if isinstance(value, Moment):
        return value
    text = str(value)
    try:
        if _DATE.fullmatch(text):
            return Moment(date.fromisoformat(text))
        if parts := _DATE_TIME.fullmatch(text):
            local = datetime.fromisoformat(parts["local"].upper() + (parts["seconds"] or "")[:3])
            local = local.replace(microsecond=int((parts["micros"] or "").ljust(6, "0")))
            finer = bool((parts["finer"] or "").strip("0"))
            return Moment(local.replace(tzinfo=_offset(parts)), finer)
    except ValueError:
        pass
    raise ValueError("Must be a date like 2025-05-28 or a date-time like 2025-05-28T09:30:00Z")


def _offset(parts: re.Match[str]) -> timezone | None:
    if parts["offset"] is None:
        return None
    if parts["hours"] is None:
        return UTC
    hours, minutes = int(parts["hours"]), int(parts["minutes"])
    if minutes > 59:
        raise ValueError
    # An unescaped + arrives as a space.
    sign = -1 if parts["sign"] == "-" else 1
    return timezone(sign * timedelta(hours=hours, minutes=minutes))


def _zone(value: Any) -> Any:
    if isinstance(value, tzinfo):
        return value
    if value not in ZONES:
        raise ValueError("Must be a time zone of the IANA database, like Europe/Berlin")
    return ZoneInfo(value)


def whole_number(value: Any) -> Any:
    """Return the text of a whole number as it is. Raises ValueError for any other text."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,9}", value):
        raise ValueError("Must be a whole number")
    return value


MOMENT_SCHEMA = {
    "type": "string",
    "anyOf": [{"format": "date"}, {"format": "date-time"}],
    "examples": ["2025-05-28", "2025-05-28T09:30:00+02:00"],
}
OptionalMoment = Annotated[Moment | None, BeforeValidator(_moment), WithJsonSchema(MOMENT_SCHEMA)]


Site = Annotated[
    int,
    Field(ge=1, le=32767, description="The events' site", examples=[DEFAULT_SITE]),
    BeforeValidator(whole_number),
]


class RangeQuery(BaseModel):
    """A range of time at a site. Both ends are inclusive and may be left out."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, frozen=True)

    start_date: Annotated[
        OptionalMoment, Field(description="Events on or after this date or instant")
    ] = None
    end_date: Annotated[
        OptionalMoment,
        Field(description="Events on or before this date (the whole day counts) or instant"),
    ] = None
    tz: Annotated[
        tzinfo,
        BeforeValidator(_zone),
        WithJsonSchema(
            {
                "type": "string",
                "format": "time-zone",
                "default": "UTC",
                "examples": ["Europe/Berlin"],
            }
        ),
        Field(
            description="The IANA time zone of dates, and of date-times without an offset",
            default_factory=lambda: UTC,
        ),
    ]
    site: Site = DEFAULT_SITE

    def half_open(self) -> tuple[datetime | None, datetime | None]:
        """Return the first instant in the range and the first behind it; None is an open end.

        Raises Problem where the start lies after the end.
        """
        start = None if self.start_date is None else self.start_date.first_instant(self.tz)
        if self.end_date is None:
            return start, None
        end = self.end_date.end(self.tz)
        # A day that a zone skipped is a range too, an empty one.
        if start is not None and start >= end and start > self.end_date.first_instant(self.tz):
            raise invalid_query(
                [FieldError(field="start_date", message="Must not be after end_date")]
            )
        return start, end


class CountQuery(RangeQuery):
    """A range of time at a site, and one type of events or all."""

    event_type: Annotated[EventType | None, Field(description="Only events of this type")] = None


class OverTimeQuery(CountQuery):
    """A range of time at a site in buckets of a calendar."""

    interval: Annotated[
        Literal["minute", "quarter_hour", "hour", "day", "week", "month"],
        Field(description="The width of the buckets; weeks begin on Monday"),
    ]


Query = TypeVar("Query", bound=BaseModel)


def parse_query(model: type[Query], query_string: bytes) -> Query:
    """Return the query as its model: a misspelt filter must not count everything.

    Raises Problem.
    """
    pairs = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
    values = dict(pairs)
    errors = [
        FieldError(field=name, message="Must not be repeated")
        for name, times in Counter(name for name, _ in pairs).items()
        if times > 1
    ]
    errors += [
        FieldError(field=name, message="Must not be empty")
        for name, value in values.items()
        if not value
    ]
    if errors:
        raise invalid_query(errors)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise invalid_query([_field_error(found) for found in error.errors()]) from None


def invalid_query(errors: list[FieldError]) -> Problem:
    """Return the problem that names the parameters."""
    return Problem(ProblemKind.INVALID_QUERY, "Nothing was counted.", first_errors(errors))


def _field_error(found: Any) -> FieldError:
    field = str(found["loc"][0])
    match found["type"]:
        case "extra_forbidden":
            return FieldError(field=field, message="Is not a parameter of this endpoint")
        case "literal_error":
            choices = found["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
            return FieldError(field=field, message=f"Must be one of {choices}")
        case "missing":
            return FieldError(field=field, message="Must be given")
        case _:
            return FieldError(field=field, message=found["msg"].removeprefix("Value error, "))
