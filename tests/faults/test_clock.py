"""The service's clock jumps back and forth, over midnights, ends of months, and DST days."""

import asyncio
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from tests.faults.support import kept_promise, post
from tests.support.ledger import Fate, Ledger, moment_of
from tests.support.senders import Habit

pytestmark = pytest.mark.fault

CLOCK = Path(__file__).parent / "clock"
DAY = timedelta(days=1)
MILLISECOND = timedelta(milliseconds=1)

# In no order of time: the clock is set back, too.
BORDERS = [
    ("Europe/Berlin", datetime(2026, 3, 28, 23, tzinfo=UTC)),  # begins a day of 23 hours
    ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),  # the hour that is not there
    ("Europe/Berlin", datetime(2025, 10, 26, 1, tzinfo=UTC)),  # the hour that is there twice
    ("Europe/Berlin", datetime(2025, 10, 26, 23, tzinfo=UTC)),  # ends a day of 25 hours
    ("UTC", datetime(2024, 2, 29, tzinfo=UTC)),
    ("UTC", datetime(2024, 3, 1, tzinfo=UTC)),
    ("UTC", datetime(2026, 1, 1, tzinfo=UTC)),
    ("Asia/Kathmandu", datetime(2026, 4, 30, 18, 15, tzinfo=UTC)),
    ("America/Sao_Paulo", datetime(2025, 12, 1, 3, tzinfo=UTC)),
]


def set_clock(file: Path, moment: datetime) -> None:
    new = file.with_suffix(".new")
    new.write_text(str(round(moment.timestamp() - time.time())))
    new.replace(file)


def around(border: datetime) -> list[int]:
    """Return milliseconds since 1970: the last and first ones, and some of the hours beside."""
    steps = [*range(-20, 20), *range(-7_200_000, 7_200_000, 450_000)]
    return [round(border.timestamp() * 1000) + step for step in steps]


def test_counts_are_exact_whatever_the_clock_does(database_url: str, tmp_path: Path) -> None:
    async def send() -> None:
        async with trial.senders(count=8, habits=[Habit()]) as senders:
            await senders.until_accepted(40)
            set_clock(clock, border - timedelta(seconds=30))
            await senders.until_accepted(40)

    clock = tmp_path / "clock"
    clock.write_text("0")
    what = f"the clock set to {len(BORDERS)} borders"
    environment: dict[str, Any] = {"PYTHONPATH": str(CLOCK), "CLOCK_FILE": str(clock)}
    with (
        kept_promise(what, database_url, tmp_path, **environment) as trial,
        httpx.Client(base_url=trial.service.base_url) as client,
    ):
        ledger = trial.ledger
        for _, border in BORDERS:
            set_clock(clock, border + timedelta(hours=3))
            moments = around(border)
            numbers = ledger.new_events(len(moments))
            ledger.give_ids(numbers, moments)
            assert post(client, ledger, numbers).status_code == 202
            asyncio.run(send())
        for tz, border in BORDERS:
            expected = by_day(ledger, tz)
            today = border.astimezone(ZoneInfo(tz)).date()
            for day in (today - DAY, today, today + DAY):
                assert count(client, day, tz) == expected[day], f"{day} in {tz}"


def by_day(ledger: Ledger, tz: str) -> Counter[date]:
    """Return how many events are on each local day, by their ids."""
    return Counter(
        moment_of(ledger.ids[number]).astimezone(ZoneInfo(tz)).date()
        for number, fate in ledger.fates.items()
        if fate is Fate.ACCEPTED
    )


def count(client: httpx.Client, day: date, tz: str) -> int:
    """Return what the service counts on a local day."""
    query = {"start_date": str(day), "end_date": str(day), "tz": tz}
    return int(client.get("/analytics/event-counts", params=query).json()["total_events"])
