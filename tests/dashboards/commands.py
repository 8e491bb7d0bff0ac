"""`python -m service ops` as a process."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def command(url: str, *arguments: str) -> "subprocess.Popen[str]":
    """Start the command as a process of its own, with its output in a pipe."""
    return subprocess.Popen(
        [sys.executable, "-m", "service", "ops", *arguments],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def printed(url: str, *arguments: str) -> str:
    """Return what the command prints when all is well."""
    output, error = command(url, *arguments).communicate(timeout=60)
    assert error == ""
    return output


def refused(url: str, *arguments: str) -> str:
    """Return the one line by which the command says why it can't."""
    process = command(url, *arguments)
    output, error = process.communicate(timeout=60)
    assert (process.returncode, output, error.count("\n")) == (1, "", 1)
    return error


@contextmanager
def watching(url: str, *arguments: str) -> Iterator[Iterator[str]]:
    """Yield the lines that the command prints again and again; end it as Ctrl-C does."""
    process = command(url, *arguments, "--watch", "0.5")
    assert process.stdout is not None
    guard = threading.Timer(60, process.kill)
    guard.start()
    try:
        yield iter(process.stdout.readline, "")
    finally:
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
        guard.cancel()
    assert (process.returncode, error) == (0, "")


def lines_until(lines: Iterator[str], text: str, times: int = 1) -> list[str]:
    """Return the lines up to the one that has a text in it."""
    seen = []
    for line in lines:
        seen.append(line)
        times -= text in line
        if times == 0:
            return seen
    pytest.fail(f"it ended without {text!r}: {seen}")
