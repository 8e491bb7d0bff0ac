"""Soak: the days of a site, each in --day-seconds, until --run-time is over."""

from typing import Any

from locust import LoadTestShape, events
from locust.argument_parser import LocustArgumentParser

from loadtest.shapes import run_of
from loadtest.users_over_time import at_time_of_day

SPAWN_RATE = 10.0


def add_options(parser: LocustArgumentParser, **_: Any) -> None:
    """Add how long a day is."""
    parser.add_argument(
        "--day-seconds", type=float, default=1200.0, help="How long a day of the soak takes."
    )


events.init_command_line_parser.add_listener(add_options)


class Soak(LoadTestShape):
    """Quiet nights and busy evenings."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """Return how many users there should be now."""
        options, seconds = run_of(self)
        if seconds >= options.run_time:
            return None
        return at_time_of_day(seconds / options.day_seconds % 1, options.num_users), SPAWN_RATE
