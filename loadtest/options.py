"""Our options, beside Locust's own: limits that fail a run, and the pace of users."""

from typing import Any

from locust.argument_parser import LocustArgumentParser

from loadtest.checks.limits import PERCENTILES, parse_limits
from service.ingest.batches import MAX_EVENTS


def add_options(parser: LocustArgumentParser, **_: Any) -> None:
    """Add them to Locust's command line, its configuration files and its web UI."""
    parser.add_argument(
        "--max-error-ratio",
        type=float,
        default=0.0,
        help="The part of an endpoint's requests that may fail (0.01 is one in a hundred).",
    )
    for percentile in PERCENTILES:
        parser.add_argument(
            f"--max-p{percentile}-ms",
            type=_checked,
            default="",
            metavar="LIMITS",
            help=f"The {percentile}th percentile of answers' times, in ms, at most: for every "
            'endpoint (250), or for some ("POST /events=250,GET /analytics/event-counts=50").',
        )
    parser.add_argument(
        "--speed",
        type=_positive,
        default=30.0,
        help="How many times faster than people visitors go through the site.",
    )
    parser.add_argument(
        "--think-seconds",
        type=float,
        default=1.0,
        help="The mean pause of a reader between two counts; 0 is none.",
    )
    parser.add_argument(
        "--batch-events",
        type=_a_batch,
        default=100,
        help="How many events a batch has.",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        include_in_web_ui=False,
        help="Only check the options, and start nothing.",
    )
    parser.add_argument(
        "--outcome-file",
        metavar="PATH",
        include_in_web_ui=False,
        help="Where to write what was found, and the figures of each second, as JSON.",
    )


def _checked(text: str) -> str:
    parse_limits(text)
    return text


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


def _a_batch(text: str) -> int:
    number = int(text)
    if not 0 < number <= MAX_EVENTS:
        raise ValueError
    return number


# argparse names the function where a value is wrong.
_checked.__name__ = "limits"
_positive.__name__ = "positive number"
_a_batch.__name__ = f"number from 1 to {MAX_EVENTS}"
