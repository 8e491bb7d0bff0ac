"""The benchmarks run; what they measure is for people to judge."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("counts", ["--events", "3000", "--counts", "3"], "raw COUNT"),
        ("writes", ["--rounds", "1"], "COPY / INSERT"),
        ("refreshes", ["--events", "3000", "--seconds", "17"], "beside a refresh"),
    ],
)
def test_it_runs(name: str, options: list[str], says: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"loadtest.{name}", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
