"""loadtest/run: one command from nothing to a report."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loadtest.support import ROOT, wait_until

FILES = {
    "index.html",
    "load-over-time.svg",
    "locust.html",
    "locust_exceptions.csv",
    "locust_failures.csv",
    "locust_stats.csv",
    "locust_stats_history.csv",
    "outcome.json",
    "result.json",
    "service.log",
}


def test_smoke(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    done = subprocess.run(
        ["loadtest/run", "smoke", "--run-time", "10s", "--events", "2000", "--output", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in folder.iterdir()} == FILES
    assert f"Report: {folder}/index.html" in done.stdout
    result = json.loads((folder / "result.json").read_text())
    assert result["passed"]
    assert not result["cut_short"]
    assert result["command"].startswith("loadtest/run smoke --run-time 10s --events 2000 ")
    assert result["locust_command"].startswith("locust --config loadtest/scenarios/smoke.conf")
    lines = result["conservation"]["lines"]
    assert {line["event_type"] for line in lines} == {"view", "click", "location"}
    for line in lines:
        assert line["accepted"] == line["moved"] > 0
        assert line["unknown"] == 0
    assert {at["name"] for at in result["endpoints"]} >= {
        "POST /events",
        "POST /events/batch",
        "GET /analytics/event-counts",
        "GET /analytics/event-counts-by-type",
        "POST /events (malformed)",
    }
    for name in ("machine", "versions", "database", "command", "totals", "cpu_seconds"):
        assert result[name]
    assert result["sample_events"] == 2000
    page = (folder / "index.html").read_text()
    assert "Passed" in page
    assert "cut short" not in page
    assert "load-over-time.svg" in page
    assert 'href="service.log"' in page


def test_ctrl_c_ends_the_run_with_its_report_and_all_that_was_started(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*(sys.executable, "-m", "loadtest", "steady"), *("--output", tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    log = tmp_path / "service.log"
    wait_until(lambda: log.exists() and "flush" in log.read_text(), 60)
    # What a terminal does at Ctrl-C.
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "PASSED" in said
    cut, report = said.splitlines()[-2:]
    assert re.fullmatch(r"The run was cut short after [\d.]+ of 60 s\.", cut)
    assert report.startswith("Report: ")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["passed"]
    assert result["cut_short"]
    assert result["exit_code"] == 130
    assert 0 < result["totals"]["seconds"] < result["totals"]["planned_seconds"] == 60
    assert "Passed, and cut short after" in (tmp_path / "index.html").read_text()
    assert all(line["unknown"] == 0 for line in result["conservation"]["lines"])
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert "Traceback" not in said
    assert "Traceback" not in log.read_text()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], ["There is no scenario nothing", "smoke", "soak"]),
        (["smoke", "--host", "http://127.0.0.1:1", "--events", "5"], ["--events", "--host"]),
    ],
)
def test_mistakes_are_told_in_a_plain_line(arguments: list[str], words: list[str]) -> None:
    done = command_line(*arguments)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("tallymark: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--bogus"], "unrecognized arguments: --bogus"),
        (["--run-time", "abc"], "argument -t/--run-time: Invalid time span format"),
        (["--max-p95-ms", "POST=1"], "--max-p95-ms: POST is not requested here, but GET /"),
    ],
)
def test_options_are_refused_before_anything_starts(
    tmp_path: Path, options: list[str], said: str
) -> None:
    folder = tmp_path / "report"
    done = command_line("smoke", *options, "--output", str(folder))
    assert done.returncode == 2
    assert not done.stdout
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"tallymark: {said}")
    assert not folder.exists()


def test_a_service_that_is_not_there(tmp_path: Path) -> None:
    done = command_line("smoke", "--host", "http://127.0.0.1:1", "--output", str(tmp_path))
    assert done.returncode == 1
    assert "tallymark: no counts from http://127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_lists_the_scenarios() -> None:
    done = command_line("--help")
    assert done.returncode == 0
    for config in (ROOT / "loadtest" / "scenarios").glob("*.conf"):
        assert f"  {config.stem} " in done.stdout


def command_line(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        [sys.executable, "-m", "loadtest", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
