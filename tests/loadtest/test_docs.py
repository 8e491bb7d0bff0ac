"""docs/load-testing.md: its commands are taken, and nothing is left out of it."""

import re
import shlex
import subprocess
import sys

import pytest

from tests.loadtest.support import ROOT

TEXT = (ROOT / "docs" / "load-testing.md").read_text()
SCENARIOS = sorted(path.stem for path in (ROOT / "loadtest" / "scenarios").glob("*.conf"))
COMMANDS = re.findall(r"^ {4,}((?:loadtest/run|locust) .+)$", TEXT, re.MULTILINE)


def as_locust(command: str) -> list[str]:
    """Return the options of Locust that a command of loadtest/run or of locust stands for."""
    program, *arguments = shlex.split(command)
    if program == "locust":
        return arguments
    scenario, *options = arguments
    own = {"--events"}
    kept = [
        option
        for option, before in zip(options, ["", *options], strict=False)
        if option not in own and before not in own
    ]
    return ["--config", f"loadtest/scenarios/{scenario}.conf", *kept]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_taken(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "locust", *as_locust(command), "--list"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Sender" in done.stdout


def test_there_are_commands_of_both_kinds() -> None:
    assert {command.split()[0] for command in COMMANDS} == {"loadtest/run", "locust"}


def test_each_scenario_and_option_is_there() -> None:
    for scenario in SCENARIOS:
        assert f"\n| `{scenario}` |" in TEXT
    options = (ROOT / "loadtest" / "options.py").read_text()
    for option in re.findall(r'"(--[a-z-]+)"', options):
        assert f"`{option}`" in TEXT or option == "--outcome-file", option
