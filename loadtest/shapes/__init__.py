"""Load shapes; a scenario names at most one of these modules as a locustfile."""

from typing import Any

from locust import LoadTestShape


def run_of(shape: LoadTestShape) -> tuple[Any, float]:
    """Return the options of a shape's run, and the seconds since its start.

    The length of a shape and its users are Locust's own options.
    """
    assert shape.runner is not None, "Locust gives a shape its runner before the first tick"  # noqa: S101
    seconds: float = shape.get_run_time()
    return shape.runner.environment.parsed_options, seconds
