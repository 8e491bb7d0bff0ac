"""Ramp to saturation: 1, 2, 4, 8, … users, up to --users; the stages share --run-time."""

from locust import LoadTestShape

from loadtest.shapes import run_of
from loadtest.users_over_time import doubled

SPAWN_RATE = 100.0


class Ramp(LoadTestShape):
    """Doubles the users until there are --users."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """Return how many users there should be now."""
        options, seconds = run_of(self)
        steps = doubled(options.num_users)
        step = int(seconds / options.run_time * len(steps))
        return (steps[step], SPAWN_RATE) if step < len(steps) else None
