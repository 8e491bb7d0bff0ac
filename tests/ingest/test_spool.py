"""The spool: what is in it survives damage, full disks and the end of its worker."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from service.events import Event
from service.ingest.spool import Spool, SpoolError, SpoolFullError, folder
from service.ingest.spool.records import MARK, decode, encode
from service.ingest.spool.segments import keep_only, read, remove
from tests.support.disks import fill, small_disk
from tests.support.events import make_event, numbered_event

LIMIT = 10_000_000
ROOT = Path(__file__).parents[2]

events = st.builds(
    Event,
    timestamp=st.integers(-(2**63), 2**63 - 1),
    event_id=st.binary(min_size=16, max_size=16),
    site_id=st.integers(-(2**15), 2**15 - 1),
    user_id=st.text(max_size=20).map(str.encode) | st.just(MARK),
    event_type=st.sampled_from(["view", "click", "location"]),
    payload=st.binary(max_size=50) | st.just(MARK * 3),
    id_is_given=st.booleans(),
)


@given(st.lists(events))
def test_what_is_written_is_read(some: list[Event]) -> None:
    assert list(decode(encode(some))) == some


@given(st.lists(events, max_size=6), st.data())
def test_damage_costs_no_neighbour(some: list[Event], data: st.DataObject) -> None:
    """One stretch of bytes is overwritten: the events outside of it are read, in order."""
    records = [encode([event]) for event in some]
    whole = b"".join(records)
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    noise = data.draw(st.binary(min_size=end - start, max_size=end - start))
    damaged = whole[:start] + noise + whole[end:]
    found = list(decode(damaged))
    ends = [sum(map(len, records[: n + 1])) for n in range(len(records))]
    untouched = [
        event
        for event, record, stop in zip(some, records, ends, strict=True)
        if damaged[stop - len(record) : stop] == record
    ]
    assert [one for one in found if isinstance(one, Event)] == untouched
    lost = sum(map(len, records)) - sum(len(encode([event])) for event in untouched)
    assert sum(one for one in found if isinstance(one, int)) == lost


@given(st.lists(events, min_size=1, max_size=5), st.data())
def test_a_file_that_is_cut_short_keeps_what_is_whole(
    some: list[Event], data: st.DataObject
) -> None:
    whole = encode(some)
    cut = data.draw(st.integers(0, len(whole)))
    found = [one for one in decode(whole[:cut]) if isinstance(one, Event)]
    assert found == [event for n, event in enumerate(some) if len(encode(some[: n + 1])) <= cut]


async def found_in(directory: Path, limit_bytes: int = LIMIT) -> list[Event]:
    """Return the events that a new worker finds."""
    async with Spool(directory, limit_bytes=limit_bytes) as spool:
        return [one for path in await spool.segments() for one in read(path) if one]  # type: ignore[misc]


def test_a_worker_finds_what_another_one_left(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Spool(tmp_path, limit_bytes=LIMIT) as spool:
            for event in some:
                await spool.append([event])
            size = spool.bytes
        async with Spool(tmp_path, limit_bytes=LIMIT) as spool:
            assert spool.bytes == size
        assert await found_in(tmp_path) == some

    some = [numbered_event() for _ in range(20)]
    asyncio.run(scenario())


def test_what_is_removed_is_gone_and_so_are_the_folders_then(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Spool(tmp_path, limit_bytes=LIMIT) as spool:
            await spool.append([numbered_event()])
            (path,) = await spool.segments()
            await spool.remove(path, damaged=False)
            assert spool.bytes == 0

    asyncio.run(scenario())
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_segment_stays_for_people(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Spool(tmp_path, limit_bytes=LIMIT) as spool:
            await spool.append([numbered_event()])
            (path,) = await spool.segments()
            await spool.remove(path, damaged=True)
            assert spool.bytes == 0
            assert await spool.segments() == []

    asyncio.run(scenario())
    (left,) = tmp_path.glob("*/*")
    assert left.suffix == ".damaged"


def test_segments_are_closed_when_they_are_large_and_are_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with Spool(tmp_path, limit_bytes=LIMIT) as spool:
            for event in some:
                await spool.append([event])
            paths = await spool.segments()
            assert len(paths) == 4
            assert [one for path in paths for one in read(path)] == some

    some = [make_event(payload=b"x" * 100) for _ in range(10)]
    monkeypatch.setattr(folder, "SEGMENT_BYTES", 2 * len(encode(some[:1])) + 1)
    asyncio.run(scenario())


def test_a_spool_takes_no_more_than_its_limit(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Spool(tmp_path, limit_bytes=2000) as spool:
            while not spool.is_full():
                await spool.append([numbered_event()])
            assert 2000 <= spool.bytes < 2200
            with pytest.raises(SpoolFullError, match="wait in the spool"):
                await spool.append([numbered_event()])
            for path in await spool.segments():
                await spool.remove(path, damaged=False)
            assert not spool.is_full()
            await spool.append([numbered_event()])

    asyncio.run(scenario())


def test_a_full_disk_takes_whole_groups_or_nothing(tmp_path: Path) -> None:
    """All that was acknowledged is there, and nothing else; with room again it goes on."""

    async def scenario() -> None:
        async with Spool(tmp_path, limit_bytes=LIMIT) as spool:
            await fill_spool(spool, kept)
            ballast.unlink()
            await spool.append([after])
            kept.append(after)
        assert await found_in(tmp_path) == kept

    async def fill_spool(spool: Spool, kept: list[Event]) -> None:
        with suppress(SpoolFullError):
            while True:
                group = [make_event(payload=b"x" * 1000) for _ in range(50)]
                await spool.append(group)
                kept += group

    with small_disk(tmp_path, "size=3m"):
        ballast = tmp_path / "ballast"
        ballast.write_bytes(bytes(1_500_000))
        kept: list[Event] = []
        after = numbered_event()
        asyncio.run(scenario())
        assert len(kept) > 100


@pytest.mark.parametrize("below", ["", "not/there/yet"])
def test_a_spool_opens_on_a_full_disk_and_takes_events_once_there_is_room(
    tmp_path: Path, below: str
) -> None:
    async def scenario() -> None:
        async with Spool(disk / below, limit_bytes=LIMIT) as spool:
            assert spool.is_full()
            assert await spool.segments() == []
            with pytest.raises(SpoolFullError):
                await spool.append([event])
            for path in ballast:
                path.unlink()
            async with asyncio.timeout(10):
                while spool.is_full():  # noqa: ASYNC110 - polled, not announced
                    await asyncio.sleep(0.05)
            await spool.append([event])
        assert await found_in(disk / below) == [event]

    event = numbered_event()
    with small_disk(tmp_path / "disk", "size=2m,nr_inodes=20") as disk:
        ballast = fill(disk)
        asyncio.run(scenario())


def test_what_others_left_keeps_no_new_events_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Spool(tmp_path, limit_bytes=10 * LIMIT) as other:
            await other.append([numbered_event() for _ in range(50)])
        async with Spool(tmp_path, limit_bytes=200) as spool:
            assert spool.bytes > 0
            assert not spool.is_full()
            await spool.append([numbered_event() for _ in range(10)])
            assert spool.is_full()

    asyncio.run(scenario())


@pytest.mark.parametrize("damaged", [False, True])
def test_what_is_left_of_a_segment_takes_its_place(tmp_path: Path, damaged: bool) -> None:
    async def scenario() -> None:
        async with Spool(tmp_path, limit_bytes=LIMIT) as spool:
            await spool.append(some)
            (path,) = await spool.segments()
            await spool.remove(path, damaged=damaged, left=some[3:5])
            assert spool.bytes == len(encode(some[3:5]))
            assert await spool.segments() == [path]
        assert await found_in(tmp_path) == some[3:5]

    some = [numbered_event() for _ in range(10)]
    asyncio.run(scenario())
    aside = [list(read(path)) for path in tmp_path.glob("*/*.damaged")]
    assert aside == ([some] if damaged else [])


KILLED_BEFORE = ("open", "fsync", "link", "replace")


@pytest.mark.parametrize("call", KILLED_BEFORE)
def test_a_segment_is_whole_wherever_its_rewriting_is_cut_off(tmp_path: Path, call: str) -> None:
    """A process that dies before any step leaves the events that were there; then it goes on."""
    some = [numbered_event() for _ in range(5)]
    path = tmp_path / "1.events"
    path.write_bytes(encode(some))
    command = [sys.executable, "-c", REWRITE, str(path), call]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True)
    assert done.returncode == 9, done.stderr
    assert list(read(path)) == some
    keep_only(path, some[:1], damaged=True)
    assert list(read(path)) == some[:1]
    remove(path, damaged=False)
    assert [one.name for one in tmp_path.iterdir()] == ["1.damaged"]


REWRITE = """
import io, os, sys
from pathlib import Path
from service.ingest.spool.segments import keep_only, read

path, call = Path(sys.argv[1]), sys.argv[2]
some = list(read(path))
setattr(io if call == "open" else os, call, lambda *_, **__: os._exit(9))
keep_only(path, some[:1], damaged=True)
"""


def test_nothing_that_asks_the_disk_runs_in_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk may take long: meanwhile all else must have its turn."""

    def noting(call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **options: Any) -> Any:
            threads.add(threading.get_ident())
            return call(*arguments, **options)

        return noted

    async def scenario() -> int:
        async with Spool(tmp_path, limit_bytes=LIMIT) as spool:
            await spool.append([numbered_event()])
            spool.is_full()
            (path,) = await spool.segments()
            await spool.remove(path, damaged=False)
            assert spool.bytes == 0
        return threading.get_ident()

    threads: set[int] = set()
    for name in ("statvfs", "open", "close", "fsync", "stat", "scandir", "unlink"):
        monkeypatch.setattr(os, name, noting(getattr(os, name)))
    # The selector of the event loop is a file, too, but none of a disk.
    loop_thread = asyncio.run(scenario())
    assert threads
    assert loop_thread not in threads


class FailingDisk:
    """A pwrite that writes a part and fails, and an fdatasync that fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self._write = os.pwrite

    def write_half_and_fail(self, file: int, data: bytes, offset: int) -> int:
        """Write as a disk does that becomes full."""
        self._write(file, data[: len(data) // 2], offset)
        raise OSError(28, "No space left on device")

    def fail(self, *_: object) -> None:
        """Fail as a broken disk does."""
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("fault", ["pwrite", "fdatasync"])
def test_what_was_refused_is_not_there_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    async def scenario() -> list[Event]:
        async with Spool(tmp_path, limit_bytes=LIMIT) as spool:
            await spool.append(kept[:2])
            with monkeypatch.context() as patch:
                failing = disk.write_half_and_fail if fault == "pwrite" else disk.fail
                patch.setattr(os, fault, failing)
                with pytest.raises(SpoolFullError, match=r"device|error"):
                    await spool.append(refused)
                with pytest.raises(SpoolFullError):
                    await spool.append(refused)
            await spool.append(kept[2:])
        return await found_in(tmp_path)

    disk = FailingDisk(monkeypatch)
    kept, refused = [numbered_event() for _ in range(4)], [numbered_event() for _ in range(10)]
    assert asyncio.run(scenario()) == kept


def test_a_directory_that_can_t_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    in_the_way = tmp_path / "spool"
    in_the_way.write_text("a file")
    with pytest.raises(SpoolError, match=r"^The spool's directory .* SPOOL_BYTES=0 .*$"):
        asyncio.run(found_in(in_the_way))


HOLD = """
import asyncio, sys
from pathlib import Path
from service.ingest.spool import Spool
from tests.support.events import numbered_event

async def hold():
    async with Spool(Path(sys.argv[1]), limit_bytes=10**9) as spool:
        await spool.append([numbered_event() for _ in range(3)])
        print("held", flush=True)
        await asyncio.sleep(60)

asyncio.run(hold())
"""


def test_a_spool_is_its_workers_until_that_is_dead(tmp_path: Path) -> None:
    def found() -> Sequence[Event]:
        return asyncio.run(found_in(tmp_path))

    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert found() == []
        other.kill()
        other.wait()
    assert len(found()) == 3


def test_other_folders_in_the_directory_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "lock").write_text("somebody's")
    (tmp_path / "empty").mkdir()
    assert asyncio.run(found_in(tmp_path)) == []
    assert (tmp_path / "scripts" / "lock").read_text() == "somebody's"
    assert (tmp_path / "empty").is_dir()


def test_a_worker_adopts_what_another_one_leaves_while_it_runs(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Spool(tmp_path, limit_bytes=LIMIT) as one:
            async with Spool(tmp_path, limit_bytes=LIMIT) as other:
                await other.append(some)
                assert one.adopt() == 0
            assert one.adopt() == 1
            assert one.bytes == len(encode(some))
            (path,) = await one.segments()
            await one.remove(path, damaged=False)
            assert one.bytes == 0
        assert await found_in(tmp_path) == []

    some = [numbered_event() for _ in range(3)]
    asyncio.run(scenario())


async def found_for(directory: Path, database: str | None) -> list[Event]:
    """Return the events that a new process of a database finds."""
    async with Spool(directory, limit_bytes=LIMIT) as spool:
        if database is not None:
            await spool.bind(database)
        spool.adopt()
        return [one for path in await spool.segments() for one in read(path) if one]  # type: ignore[misc]


def test_what_is_for_one_database_is_no_other_one_s(tmp_path: Path) -> None:
    async def leave() -> None:
        async with Spool(tmp_path, limit_bytes=LIMIT) as spool:
            await spool.bind("this")
            await spool.append(some)

    some = [numbered_event() for _ in range(3)]
    asyncio.run(leave())
    with capture_logs() as entries:
        assert asyncio.run(found_for(tmp_path, "other")) == []
        assert asyncio.run(found_for(tmp_path, None)) == []
        assert asyncio.run(found_for(tmp_path, "this")) == some
    told = [one for one in entries if one["event"] == "spools of another database are left alone"]
    assert [(one["spools"], one["directory"]) for one in told] == [(1, str(tmp_path))]


def test_a_folder_whose_database_can_t_be_read_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / f"{10**18}-00000000"
    (folder / "database").mkdir(parents=True)
    (folder / "1.events").write_bytes(encode([numbered_event()]))
    assert asyncio.run(found_for(tmp_path, "this")) == []
    assert (folder / "1.events").exists()


def test_what_is_for_no_database_yet_is_whose_adopts_it(tmp_path: Path) -> None:
    async def leave() -> None:
        async with Spool(tmp_path, limit_bytes=LIMIT) as spool:
            await spool.append(some)

    some = [numbered_event() for _ in range(3)]
    asyncio.run(leave())
    assert asyncio.run(found_for(tmp_path, None)) == some
    assert asyncio.run(found_for(tmp_path, "this")) == some
    assert asyncio.run(found_for(tmp_path, "other")) == []


def test_a_database_that_becomes_another_one_has_another_folder(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Spool(tmp_path, limit_bytes=LIMIT) as spool:
            for database, event in zip(("this", "other"), some, strict=True):
                await spool.bind(database)
                assert await spool.segments() == []
                await spool.append([event])
            assert spool.adopt() == 0
            assert spool.foreign == 1
            await spool.bind("this")
            assert spool.adopt() == 1
            assert spool.foreign == 1
            (path,) = await spool.segments()
            assert list(read(path)) == some[:1]

    some = [numbered_event() for _ in range(2)]
    asyncio.run(scenario())
    assert asyncio.run(found_for(tmp_path, "other")) == some[1:]
