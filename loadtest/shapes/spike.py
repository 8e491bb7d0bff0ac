"""Spike: a tenth of --users, suddenly all, and a tenth again; each for a third of --run-time."""

from locust import LoadTestShape

from loadtest.shapes import run_of

SPAWN_RATE = 100.0


class Spike(LoadTestShape):
    """Ten times as many users as a moment ago."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """Return how many users there should be now."""
        options, seconds = run_of(self)
        part = seconds / options.run_time
        if part >= 1:
            return None
        calm = max(1, options.num_users // 10)
        return (options.num_users if 1 / 3 <= part < 2 / 3 else calm), SPAWN_RATE
