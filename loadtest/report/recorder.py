"""Figures of each second of a run, of which the plots are made."""

import time
from dataclasses import asdict
from typing import Any

from locust.env import Environment
from locust.runners import Runner
from locust.stats import StatsEntry

from loadtest.checks.limits import Endpoint
from loadtest.report.samples import Sample, Times, percentiles

INTERVAL_SECONDS = 1.0


class Recorder:
    """Takes a sample each second, from the start of a run to its end, and one at the end."""

    def __init__(self, environment: Environment, runner: Runner) -> None:
        self._environment = environment
        self._runner = runner
        self._greenlet: Any = None
        self._started = 0.0
        self._seen: dict[str, Times] = {}
        self.samples: list[Sample] = []
        self.seconds = 0.0
        """How long there was load: until users were told to stop."""

    def start(self) -> None:
        """Begin anew."""
        self.stop()
        self.samples = []
        self._seen = {}
        self._started = time.monotonic()
        self._greenlet = self._runner.greenlet.spawn(self._record)

    def note_stopping(self) -> None:
        """Note that users are told to stop."""
        self.seconds = round(time.monotonic() - self._started, 3)

    def stop(self) -> None:
        """Take a last sample."""
        if self._greenlet is not None:
            self._greenlet.kill()
            self._greenlet = None
            self.samples.append(self._sample())

    def as_json(self) -> dict[str, Any]:
        """Return all that was recorded, as JSON can hold it."""
        return {"seconds": self.seconds, "samples": [asdict(sample) for sample in self.samples]}

    def _record(self) -> None:
        while True:
            self.samples.append(self._sample())
            time.sleep(INTERVAL_SECONDS)

    def _sample(self) -> Sample:
        stats = self._environment.stats
        return Sample(
            round(time.monotonic() - self._started, 3),
            self._runner.user_count,
            stats.total.num_requests,
            stats.total.num_failures,
            {
                endpoint_name(entry): latest
                for entry in list(stats.entries.values())
                if (latest := self._latest(entry))
            },
        )

    def _latest(self, entry: StatsEntry) -> Times:
        name = endpoint_name(entry)
        before, now = self._seen.get(name, {}), dict(entry.response_times)
        self._seen[name] = now
        new = {ms: times - before.get(ms, 0) for ms, times in now.items()}
        return {ms: times for ms, times in new.items() if times > 0}


def endpoint_name(entry: StatsEntry) -> str:
    """Return a name like `POST /events`."""
    return f"{entry.method} {entry.name}".strip()


def endpoints(environment: Environment) -> list[Endpoint]:
    """Return the figures of all endpoints, of the whole run."""
    entries = sorted(environment.stats.entries.values(), key=endpoint_name)
    return [_endpoint(entry) for entry in entries]


def _endpoint(entry: StatsEntry) -> Endpoint:
    slowest = round(entry.max_response_time, 1)
    # Locust rounds times, but not the longest: a percentile would be above it.
    found = {name: min(ms, slowest) for name, ms in percentiles(entry.response_times).items()}
    return Endpoint(endpoint_name(entry), entry.num_requests, entry.num_failures, found, slowest)
