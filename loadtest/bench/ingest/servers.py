"""The programs that are measured, each on a port of its own."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest.bench.ingest.cases import ROOT, Program
from loadtest.processes import START_SECONDS, RunError
from service.server import bind

STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Server:
    """A program that takes events."""

    port: int
    pid: int


@contextmanager
def serving(program: Program, database_url: str, folder: Path) -> Iterator[Server]:
    """Start a program, and stop it at the end: what it holds is written then. Raises RunError."""
    if not Path(program.python).exists():
        raise RunError(f"{program.what} needs packages that `scripts/bench ingest` installs")
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own programs
            [str(program.python), *(part.format(port=port) for part in program.command)],
            cwd=ROOT,
            env=os.environ
            | {"DATABASE_URL": database_url, "PORT": str(port)}
            | {"SPOOL_DIRECTORY": str(folder / "spool")},
            stdout=output,
            stderr=output,
            process_group=0,
        )
    try:
        _wait_until_listening(process, port, log)
        yield Server(port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RunError(f"the program did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.05)
        else:
            return
