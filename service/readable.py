"""Values of a database as people read them in a terminal."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

BYTES = ("B", "kB", "MB", "GB", "TB", "PB")
SPANS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def readable(column: str, value: object) -> str:
    """Return a value of a column; a word of the column's name tells the unit of a number."""
    match value:
        case None:
            return ""
        case timedelta():
            return span(value)
        case datetime():
            return moment(value)
        case int() | float() | Decimal():
            return number(column.split("_"), value)
        case _:
            return " ".join(str(value).split())


def number(words: list[str], value: int | float | Decimal) -> str:
    """Return a number with its unit, where a word tells one; a number that is a name as it is."""
    if "bytes" in words:
        return size(float(value))
    if "percent" in words:
        return f"{value:.1f} %"
    if "ms" in words:
        return f"{value:,.2f} ms" if value < 100 else f"{value:,.0f} ms"
    return str(value) if words[-1] in ("id", "pid") else f"{value:,}"


def size(number: float) -> str:
    """Return a number of bytes, such as 1.5 GB; a kB is 1024 bytes, as in PostgreSQL."""
    for unit in BYTES:
        if abs(number) < 1024 or unit == BYTES[-1]:
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit == "B" or abs(number) >= 100 else f"{number:.1f} {unit}"


def span(time: timedelta) -> str:
    """Return a length of time by its two largest units, such as 3 h 20 min."""
    seconds = time.total_seconds()
    if seconds < 0:
        return f"-{span(-time)}"
    if seconds < 60:
        tenths = f"{seconds:.1f}".removesuffix(".0")
        return f"{tenths} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
    parts = []
    for unit, length in SPANS:
        count, seconds = divmod(seconds, length)
        parts.append((int(count), unit))
    first = next(place for place, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def moment(time: datetime) -> str:
    """Return an instant in UTC: of today its time, of other days the day too."""
    time = time.astimezone(UTC)
    if time.timestamp() % 86400 == 0:
        return f"{time:%Y-%m-%d}"
    is_today = time.date() == datetime.now(UTC).date()
    return f"{time:%H:%M:%S}" if is_today else f"{time:%Y-%m-%d %H:%M}"
