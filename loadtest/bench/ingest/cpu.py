"""The processor time and memory that processes of this machine took, from /proc."""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import psycopg

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
BACKENDS = """
select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
"""


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the seconds that these processes took, those among them that are still there."""
    ticks = 0
    for pid in pids:
        fields = _stat(pid)
        ticks += int(fields[11]) + int(fields[12]) if fields else 0
    return ticks / TICKS_PER_SECOND


def most_memory_mib(pids: Iterable[int]) -> float:
    """Return the most MiB of memory that each of these processes has had, added up."""
    return sum(_most_memory_kib(pid) for pid in pids) / 1024


def _most_memory_kib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(status.partition("VmHWM:")[2].split()[0])


def tree(root: int) -> set[int]:
    """Return a process and all that descend from it."""
    children = defaultdict(list)
    for folder in Path("/proc").glob("[0-9]*"):
        if fields := _stat(int(folder.name)):
            children[int(fields[1])].append(int(folder.name))
    found, left = set(), [root]
    while left:
        pid = left.pop()
        found.add(pid)
        left += children[pid]
    return found


def backends(url: str) -> set[int]:
    """Return the processes that serve a database now, as far as they run on this machine."""
    with psycopg.connect(url) as connection:
        pids = {pid for (pid,) in connection.execute(BACKENDS)}
    return {pid for pid in pids if _name(pid) == "postgres"}


def _stat(pid: int) -> list[str]:
    """Return what stands after the name, which may hold blanks; nothing once it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
