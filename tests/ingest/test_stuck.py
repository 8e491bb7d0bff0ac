"""Events of the spool that can't be stored: they alone stay, and hold up nothing else."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.ingest import replay
from service.ingest.spool import Spool
from service.ingest.spool.records import encode
from service.ingest.spool.segments import read
from tests.ingest.faults import DEFECT, HANG, event_of, let_it_fail, let_it_work
from tests.ingest.test_replay import emptied, leave, spooling
from tests.ingest.test_writer import ids, stored_ids
from tests.support.events import numbered_event

FEW = 3


async def left_in(spool: Spool, size: int) -> None:
    """Return once no more bytes than these are left."""
    async with asyncio.timeout(150):
        while spool.bytes > size:  # noqa: ASYNC110 - polled, not announced
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "user_id", [DEFECT, pytest.param(HANG, marks=pytest.mark.native(reason="one sleeps for all"))]
)
def test_an_event_that_can_t_be_stored_holds_no_neighbour_back(
    database_url: str, tmp_path: Path, user_id: str
) -> None:
    """It alone stays, through restarts, and is stored as soon as that can be."""

    async def scenario() -> None:
        async with spooling(database_url, tmp_path, replay_seconds=1.0) as (_, spool):
            await left_in(spool, len(encode(stuck)))
            assert stored_ids(database_url) == ids(fine)
            (path,) = await spool.segments()
            assert sorted(read(path)) == sorted(stuck)

    async def end() -> None:
        async with spooling(database_url, tmp_path) as (_, spool):
            await emptied(spool)

    fine = [numbered_event() for _ in range(60)]
    stuck = [event_of(user_id) for _ in range(FEW)]
    let_it_fail(database_url)
    asyncio.run(leave(tmp_path, [*fine[:20], *stuck[:2], *fine[20:50], *stuck[2:], *fine[50:]]))
    with capture_logs() as entries:
        for _ in range(2):
            asyncio.run(scenario())
    told = [one for one in entries if one["event"] == "events stay in the spool"]
    assert told[-1]["events"] == FEW
    let_it_work(database_url)
    asyncio.run(end())
    assert stored_ids(database_url) == ids([*fine, *stuck])


def test_events_that_can_t_be_stored_at_the_head_of_a_file_do_not_hold_it_up(
    database_url: str, tmp_path: Path
) -> None:
    """To find two of a thousand takes all attempts of a pass: the others have the next one."""

    async def scenario() -> None:
        async with spooling(database_url, tmp_path) as (_, spool):
            await left_in(spool, len(encode(stuck)))

    stuck = [event_of(DEFECT) for _ in range(2)]
    fine = [numbered_event() for _ in range(998)]
    let_it_fail(database_url)
    asyncio.run(leave(tmp_path, [*stuck, *fine]))
    asyncio.run(scenario())
    assert stored_ids(database_url) == ids(fine)


def test_what_stays_is_tried_less_and_less_often(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pauses() -> list[float]:
        told = [one for one in entries if one["event"] == "events stay in the spool"]
        return [one["next_in_seconds"] for one in told]

    async def scenario() -> None:
        async with spooling(database_url, tmp_path), asyncio.timeout(150):
            while len(pauses()) < 4:  # noqa: ASYNC110 - polled, not announced
                await asyncio.sleep(0.02)

    monkeypatch.setattr(replay, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(replay, "LONGEST_DELAY_SECONDS", 0.05)
    let_it_fail(database_url)
    asyncio.run(leave(tmp_path, [event_of(DEFECT)]))
    with capture_logs() as entries:
        asyncio.run(scenario())
    assert pauses()[:4] == [0.02, 0.04, 0.05, 0.05]


def test_a_segment_of_which_something_stays_stops_no_other(
    database_url: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        for events in ([stuck, fine[0]], fine[1:]):
            await leave(tmp_path, events)
        async with spooling(database_url, tmp_path) as (_, spool):
            await left_in(spool, len(encode([stuck])))

    stuck, fine = event_of(DEFECT), [numbered_event() for _ in range(10)]
    let_it_fail(database_url)
    asyncio.run(scenario())
    assert stored_ids(database_url) == ids(fine)
