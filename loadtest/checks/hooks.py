"""The check of a run in Locust's processes: who sends what it counted, and who judges.

A single process judges itself. Distributed, each worker attaches its tally to the reports that it
sends every three seconds anyway, and the master judges once each worker has sent its last one.
"""

import json
import logging
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from locust.env import Environment
from locust.runners import STATE_INIT, STATE_STOPPED, MasterRunner, Runner, WorkerRunner

from loadtest.checks.length import cut_short_after, is_cut_short
from loadtest.checks.limits import EVERY_ENDPOINT, PERCENTILES, parse_limits
from loadtest.checks.service_counts import CountsError, read_counts
from loadtest.checks.tally import TALLY, Counts, Tally
from loadtest.checks.verdict import Verdict, judge
from loadtest.report.recorder import Recorder, endpoints
from loadtest.users import selection

log = logging.getLogger("tallymark")

DRAIN = "tallymark_drain"
REPORT_SECONDS = 10.0
"""How long a worker's last report may take, after its users had --stop-timeout to finish."""

WORKER_ENDED = "a worker ended without a last report: what it had accepted is not known"


def start(environment: Environment, runner: Runner, **_: Any) -> None:
    """Choose users by tags, and take this process's part in the check."""
    options = environment.parsed_options or Namespace()
    selection.drop_users_without_tasks(environment, vars(options))
    _refuse_limits_of_nothing(environment, vars(options))
    if options.dry_run:
        sys.exit(0)
    if isinstance(runner, WorkerRunner):
        Worker(environment, runner)
    else:
        check = Judge(environment, runner)
        if options.headless:
            check.require_service()
            check.end_gracefully_at_ctrl_c()


def _refuse_limits_of_nothing(environment: Environment, options: Mapping[str, Any]) -> None:
    """End Locust with a plain line where a limit is of no endpoint of this run."""
    known = selection.endpoints(environment, options)
    for percentile in PERCENTILES:
        unknown = parse_limits(options[f"max_p{percentile}_ms"]).keys() - {EVERY_ENDPOINT} - known
        for name in sorted(unknown):
            requested = ", ".join(sorted(known))
            log.error("--max-p%d-ms: %s is not requested here, but %s", percentile, name, requested)
            sys.exit(2)


class Worker:
    """Sends its tally with each report; the last one says so."""

    def __init__(self, environment: Environment, runner: WorkerRunner) -> None:
        self._last = False
        environment.events.test_start.add_listener(self._begin)
        environment.events.test_stop.add_listener(self._end)
        environment.events.report_to_master.add_listener(self._report)
        # Not in the greenlet that receives: it must go on while users finish.
        runner.register_message(DRAIN, lambda **_: runner.stop(), concurrent=True)

    def _begin(self, **_: Any) -> None:
        TALLY.clear()
        self._last = False

    def _end(self, **_: Any) -> None:
        self._last = True

    def _report(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        data["tally"] = TALLY.as_message()
        data["last"] = self._last


class Judge:
    """Reads the counts before and after a run, and says whether it has passed."""

    def __init__(self, environment: Environment, runner: Runner) -> None:
        self._environment = environment
        self._runner = runner
        # The web UI changes it in place.
        self._options = vars(environment.parsed_options or Namespace())
        self._recorder = Recorder(environment, runner)
        self._before: Counts | None = None
        self._reports: dict[str, dict[str, Any]] = {}
        self._running = False
        self._interrupted = False
        self._begun = self._stopping = 0.0
        environment.events.test_start.add_listener(self._begin)
        environment.events.worker_report.add_listener(self._note_report)
        environment.events.test_stopping.add_listener(self._note_stopping)
        environment.events.test_stop.add_listener(self._end)
        environment.events.quitting.add_listener(self._quit)

    def require_service(self) -> None:
        """End Locust with a plain line where a run could not even begin."""
        try:
            read_counts(self._host)
        except CountsError as error:
            sys.exit(f"tallymark: {error}")

    def end_gracefully_at_ctrl_c(self) -> None:
        """Let users finish; Python's own exception would hit one in the midst of its request."""

        def end(number: int, frame: FrameType | None) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._interrupt(number)
            self._runner.greenlet.spawn(self._runner.quit)

        signal.signal(signal.SIGINT, end)

    def _interrupt(self, number: int) -> None:
        self._interrupted = True
        self._environment.process_exit_code = 128 + number

    @property
    def _host(self) -> str:
        given = self._environment.host or self._environment.user_classes[0].host
        return str(given).rstrip("/")

    def _begin(self, **_: Any) -> None:
        TALLY.clear()
        # A worker that dies before its first report is missed, too.
        nothing = {"tally": Tally().as_message(), "last": False}
        self._reports = dict.fromkeys(_alive(self._runner), nothing)
        self._running = True
        # Where Locust's own clock begins; reading the counts may take a while.
        self._begun = time.monotonic()
        try:
            self._before = read_counts(self._host)
        except CountsError as error:
            self._before = None
            log.error("%s", error)
        self._recorder.start()

    def _note_report(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        if "tally" in data:
            self._reports[client_id] = data

    def _note_stopping(self, **_: Any) -> None:
        if self._running:
            self._recorder.note_stopping()
            self._stopping = time.monotonic()

    def _end(self, **_: Any) -> None:
        if not self._running:
            return
        self._running = False
        problems = self._drain_workers()
        self._recorder.stop()
        verdict = self._judge(problems)
        if not self._interrupted:
            self._environment.process_exit_code = 0 if verdict.passed else 1
        for line in verdict.lines():
            log.log(logging.INFO if verdict.passed else logging.ERROR, "%s", line)
        planned = self._planned_seconds
        took = self._stopping - self._begun
        cut_short = is_cut_short(took, planned, interrupted=self._interrupted)
        if cut_short:
            log.warning("%s", cut_short_after(self._recorder.seconds, planned))
        self._write(verdict, cut_short=cut_short)

    def _drain_workers(self) -> list[str]:
        """Let workers' users finish, and wait for the last reports; return what went wrong."""
        if not isinstance(self._runner, MasterRunner):
            return []
        self._runner.send_message(DRAIN)
        deadline = time.monotonic() + self._environment.stop_timeout + REPORT_SECONDS
        while self._unfinished() & _alive(self._runner) and time.monotonic() < deadline:
            time.sleep(0.1)
        return [WORKER_ENDED] if self._unfinished() else []

    def _unfinished(self) -> set[str]:
        return {worker for worker, report in self._reports.items() if not report["last"]}

    def _judge(self, problems: list[str]) -> Verdict:
        after: Counts | None = None
        try:
            after = read_counts(self._host)
        except CountsError as error:
            problems.append(f"conservation: {error}")
        if self._before is None:
            problems.append("conservation: the counts could not be read before the run")
        problems += [
            f"a user failed {row['count']} times: {row['msg']}"
            for row in self._runner.exceptions.values()
        ]
        return judge(
            self._before,
            after,
            sum((Tally.of_message(row["tally"]) for row in self._reports.values()), TALLY),
            endpoints(self._environment),
            self._options,
            writes=selection.writes(self._environment),
            problems=problems,
        )

    def _quit(self, **_: Any) -> None:
        """Stop a run that is cut off, by SIGTERM, before Locust settles the exit code."""
        if self._running and not self._interrupted:
            self._interrupt(signal.SIGTERM)
        if self._runner.state not in (STATE_INIT, STATE_STOPPED):
            self._runner.stop()

    @property
    def _planned_seconds(self) -> int | None:
        """In the web UI a run has whatever length people give it there."""
        planned: int | None = self._options["run_time"] if self._options["headless"] else None
        return planned

    def _write(self, verdict: Verdict, *, cut_short: bool) -> None:
        path: str | None = self._options.get("outcome_file")
        if path:
            length = {"cut_short": cut_short, "planned_seconds": self._planned_seconds}
            outcome = asdict(verdict) | length | self._recorder.as_json()
            Path(path).write_text(json.dumps(outcome))


def _alive(runner: Runner) -> set[str]:
    if not isinstance(runner, MasterRunner):
        return set()
    return {worker.id for worker in runner.clients.all} - {
        worker.id for worker in runner.clients.missing
    }
