"""What the service says that it counts."""

import json
import time
from collections import Counter
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import urlopen

from loadtest.checks.tally import Counts

PATH = "/analytics/event-counts-by-type"
ANSWER_SECONDS = 10.0
TRY_AGAIN_SECONDS = (0.5, 1.0, 2.0, 4.0)
"""Counts may be away for a moment under a load that is."""


class CountsError(Exception):
    """The service says no counts; the text is one plain line."""

    def __init__(self, line: str, *, busy: bool = False) -> None:
        super().__init__(line)
        self.busy = busy
        """Whether it may well answer in a moment."""


def read_counts(host: str) -> Counts:
    """Return the counts of all events by type. Raises CountsError, at once where nobody listens."""
    for pause in TRY_AGAIN_SECONDS:
        try:
            return _ask(f"{host}{PATH}")
        except CountsError as error:
            if not error.busy:
                raise
        time.sleep(pause)
    return _ask(f"{host}{PATH}")


def _ask(url: str) -> Counts:
    try:
        with urlopen(url, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - the operator's own host
            return Counter(json.load(answer))
    except HTTPError as error:
        said = f"{url} answered {error.code} {error.reason}"
        raise CountsError(said, busy=error.code == 503) from None
    except (OSError, ValueError, TypeError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise CountsError(f"no counts from {url}: {reason}") from None
