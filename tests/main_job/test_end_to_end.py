"""scripts/run from a clean clone, in a folder with a space in its name, as a newcomer runs it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(600)

READY = "Tallymark is ready"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean copy of what git tracks, in a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("a clean clone") / "tally mark"
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@contextmanager
def main_job(clone: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Yield the process and its base URL once it says that it is ready; end it with Ctrl-C."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DATABASE_URL", "PORT", "VIRTUAL_ENV")
    } | {"PYTHON": sys.executable}
    process = subprocess.Popen(
        ["scripts/run", "--database", "embedded", "--port", "0", *options],
        cwd=clone,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process, _base_url(process)
    finally:
        if process.poll() is None:
            # What a terminal does at Ctrl-C: everyone in the foreground gets the signal.
            os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)


def _base_url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if found := re.search(r"API +(http://[\d.:]+)/docs", line):
            assert READY in "".join(said)
            return found[1]
    pytest.fail("".join(said))


def get(url: str) -> dict[str, int]:
    """Return the JSON at a URL."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: dict[str, int] = json.load(answer)
        return body


def post_view(base_url: str) -> None:
    """Post an event, and see that it was accepted."""
    event = {"user_id": "me", "event_type": "view", "payload": {"url": "https://example.com/"}}
    request = urllib.request.Request(
        f"{base_url}/events",
        json.dumps(event).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 202


def total(base_url: str) -> int:
    """Return how many events there are."""
    return get(f"{base_url}/analytics/event-counts")["total_events"]


def test_a_newcomer_gets_counts_and_they_survive_a_stop_and_a_kill(clone: Path) -> None:
    with main_job(clone) as (process, base_url):
        assert total(base_url) == 5000
        sample = get(f"{base_url}/analytics/event-counts?start_date=2025-05-01&end_date=2025-05-29")
        assert sample == {"total_events": 5000}
        post_view(base_url)
        assert total(base_url) == 5001
    assert process.returncode == 0

    started = time.monotonic()
    with main_job(clone) as (process, base_url):
        print(f"second start: {time.monotonic() - started:.1f} s")
        assert total(base_url) == 5001
        post_view(base_url)
        process.kill()
        process.wait()

    with main_job(clone) as (_, base_url):
        assert total(base_url) == 5002
        assert get(f"{base_url}/analytics/event-counts-by-type?start_date=2026-01-01") == {
            "view": 2
        }

    with main_job(clone, "--fresh", "--no-sample-data") as (process, base_url):
        assert total(base_url) == 0
        process.terminate()
        said, _ = process.communicate(timeout=30)
        assert said.endswith("Stopped; the data are in .data/embedded\n")
    assert process.returncode == 0
