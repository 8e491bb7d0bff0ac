"""Without Chromium the browser tests are skipped, but not in CI."""

import os
import subprocess
import sys

import pytest

from tests.browser.chromium import MISSING
from tests.support.services import ROOT


@pytest.mark.parametrize(("ci", "outcome"), [("false", "1 skipped"), ("true", "1 error")])
def test_without_chromium_tests_are_skipped_but_not_in_ci(ci: str, outcome: str) -> None:
    name = "tests/browser/test_demo.py::test_every_button_ends_as_one_row"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rsE", "-p", "no:cacheprovider", name],
        cwd=ROOT,
        env=os.environ | {"PATH": "", "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in done.stdout
    assert MISSING in done.stdout
