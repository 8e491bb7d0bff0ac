"""scripts/setup: what it does not need to do again, and what it says when it can't."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

UNREACHABLE = {
    "PIP_INDEX_URL": "http://127.0.0.1:1/nothing",
    "PIP_FIND_LINKS": "",
    "PIP_NO_CACHE_DIR": "1",
    "PIP_RETRIES": "0",
    "PIP_CONFIG_FILE": os.devnull,
}


def set_up(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run scripts/setup."""
    return subprocess.run(
        ["scripts/setup", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHON": sys.executable} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the script, and a lock file of one package."""
    (tmp_path / "scripts").mkdir()
    shutil.copy2(ROOT / "scripts" / "setup", tmp_path / "scripts")
    lines = (ROOT / "requirements.lock").read_text().split("\n")
    start = next(number for number, line in enumerate(lines) if line.startswith("idna=="))
    end = next(n for n in range(start, len(lines)) if not lines[n].endswith("\\"))
    (tmp_path / "one.lock").write_text("\n".join(lines[start : end + 1]) + "\n")
    return tmp_path


def test_packages_that_cannot_be_had_are_one_plain_line(folder: Path) -> None:
    done = set_up(folder, "one.lock", **UNREACHABLE)
    assert done.returncode == 1
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith("tallymark: The packages could not be installed: is PyPI reachable")
    assert len(done.stderr.strip().splitlines()) == 2, done.stderr
    # Once they can, it goes on.
    assert set_up(folder, "one.lock").returncode == 0


def test_what_is_installed_needs_no_network(folder: Path) -> None:
    assert set_up(folder, "one.lock").returncode == 0
    again = set_up(folder, "one.lock", **UNREACHABLE)
    assert (again.returncode, again.stderr) == (0, "")


def test_an_old_python_is_one_plain_line(folder: Path) -> None:
    done = set_up(folder, "one.lock", PYTHON="/bin/false")
    assert done.returncode == 1
    assert done.stderr.startswith("tallymark: Python 3.11 or newer is needed")
