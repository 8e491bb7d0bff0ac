"""Disks that are full."""

import errno
import itertools
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(path: Path, options: str) -> Iterator[Path]:
    """Mount a file system in memory, as `size=2m` says; skip the test where nobody may."""
    path.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def fill(disk: Path) -> list[Path]:
    """Fill a disk with files until it takes not one more, and return them."""
    files: list[Path] = []
    for number in itertools.count():
        path = disk / f"ballast-{number}"
        try:
            path.write_bytes(bytes(64 * 1024))
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017 - else it is no full disk
            if not path.exists():
                return files
        files.append(path)
    raise AssertionError
