"""The processes of a run: the service and Locust, each in a process group of its own.

So Ctrl-C reaches neither of them by itself: Locust is told to finish, and the service outlives it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from urllib.error import URLError
from urllib.request import urlopen

from service.server import bind

ROOT = Path(__file__).parents[1]
START_SECONDS = 30.0


class RunError(Exception):
    """The run can't be done; the text is one plain line that says what to do."""


class OptionsError(Exception):
    """Locust takes no such options; the text is one plain line."""


def exit_on_signals() -> None:
    """Let SIGINT and SIGTERM end this process by SystemExit, with 130 and 143."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it took."""

    exit_code: int
    """130 after Ctrl-C, 143 after SIGTERM."""
    cpu_seconds: float
    """With its children that it waited for."""


class Service:
    """`python -m service serve` on a free port."""

    def __init__(self, database_url: str, log: Path) -> None:
        with bind("127.0.0.1", 0) as listener:
            port = listener.getsockname()[1]
        self.host = f"http://127.0.0.1:{port}"
        self._log = log
        self._environment = os.environ | {"DATABASE_URL": database_url, "PORT": str(port)}
        self.cpu_seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start it, wait until it answers, and stop it at the end. Raises RunError."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "service", "serve"],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        try:
            self._wait_until_live(process)
            yield
        finally:
            process.terminate()
            self.cpu_seconds = wait(process).cpu_seconds

    def _wait_until_live(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._is_live():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RunError(f"the service did not start; see {self._log}")
            time.sleep(0.05)

    def _is_live(self) -> bool:
        try:
            with urlopen(f"{self.host}/health/live", timeout=1):  # noqa: S310 - our own service
                return True
        except (URLError, OSError):
            return False


def check_options(arguments: Sequence[str]) -> None:
    """Let Locust read its options, and start nothing. Raises OptionsError."""
    alone = ("--dry-run", "--headless", "--processes", "0", "--skip-log-setup")
    done = subprocess.run(  # noqa: S603 - Locust, as the operator asks
        [sys.executable, "-m", "locust", *arguments, *alone],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().removeprefix("__main__.py: error: ")
        raise OptionsError("; ".join(said.splitlines()))


def run_locust(arguments: Sequence[str]) -> Ended:
    """Run Locust to its end. SIGINT and SIGTERM let its users finish; a second one kills it."""
    process = subprocess.Popen(  # noqa: S603 - Locust, as the operator asks
        [sys.executable, "-m", "locust", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        with _signals_end(process) as received:
            ended = wait(process)
        return replace(ended, exit_code=128 + received[0]) if received else ended
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait(process: subprocess.Popen[bytes]) -> Ended:
    """Wait for the end of a process."""
    if process.poll() is not None:
        return Ended(process.returncode, 0.0)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Ended(process.returncode, usage.ru_utime + usage.ru_stime)


@contextmanager
def _signals_end(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Yield the signals received so far."""
    received: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        if received:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.send_signal(signal.SIGINT)
        received.append(number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
