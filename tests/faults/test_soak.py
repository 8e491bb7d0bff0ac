"""scripts/soak, for a moment: it breaks things, and tells whether the promise held."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.soak.faults import KINDS, faults
from loadtest.soak.run import Plan, run
from tests.faults.test_control import ForgetfulService
from tests.support.senders import Habit

pytestmark = pytest.mark.fault

ROOT = Path(__file__).parents[2]
COMMAND = ["-m", "loadtest.soak", "--minutes", "0.4", "--rate", "300", "--every", "3"]


def test_a_short_soak(server_url: str, native: bool, tmp_path: Path) -> None:
    environment = os.environ | ({"DATABASE_URL": server_url} if native else {})
    done = subprocess.run(
        [sys.executable, *COMMAND, "--output", str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stderr
    assert "lost 0, doubled 0" in done.stdout
    assert "service killed" in done.stdout
    assert (tmp_path / "soak.svg").read_text().startswith("<?xml")


def test_a_soak_sees_losses(database_url: str, tmp_path: Path) -> None:
    plan = Plan(seconds=15, rate=200, seed=1, every_seconds=2, habits=[Habit()])
    course, comparison = run(plan, database_url, tmp_path / "service.log", ForgetfulService)
    print(comparison)
    assert course.faults
    assert comparison.lost > 0
    assert not comparison.promise_holds


def test_a_seed_has_the_same_faults_again() -> None:
    def some(seed: int) -> list[object]:
        return [fault for fault, _ in zip(faults(seed, 10), range(20), strict=False)]

    assert some(1) == some(1) != some(2)
    assert {fault.kind for fault, _ in zip(faults(3, 10), KINDS, strict=False)} == set(KINDS)
