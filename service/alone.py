"""What one process at a time may do: a lock on a file, which ends with who holds it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(lock: Path, *, mode: int = 0o600) -> Iterator[None]:
    """Wait for a file's lock, and hold it while this is entered. Raises OSError.

    The file is made, with that mode, if it is not there.
    """
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, mode)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
