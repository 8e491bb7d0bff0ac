"""Requests, counted and timed by route, method and status."""

from typing import NamedTuple

from starlette.types import Scope

from service.metrics import REQUEST_SECONDS, REQUESTS, observe_all

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Noted(NamedTuple):
    """Answers of one kind that the metrics were not told of yet."""

    route: str
    method: str
    status: int
    seconds: list[float]
    """How long each took."""


class Measured:
    """Takes note of answers, and tells the metrics of them now and then.

    To tell them at each request takes as long as to validate an event.
    """

    def __init__(self) -> None:
        self._noted: dict[tuple[object, str, int], Noted] = {}
        """By endpoint, method and status."""

    def note(self, scope: Scope, status: int, seconds: float) -> None:
        """Take note of a request; a status of 0 is none, where the sender went away."""
        # The router leaves the endpoint there.
        key = scope.get("endpoint"), scope["method"], status
        noted = self._noted.get(key)
        if noted is None:
            noted = self._noted[key] = Noted(route_of(scope), method_of(scope), status, [])
        noted.seconds.append(seconds)

    def tell(self) -> None:
        """Let the metrics have all that was noted."""
        for route, method, status, seconds in self._noted.values():
            if seconds:
                REQUESTS.labels(route, method, status).inc(len(seconds))
                observe_all(REQUEST_SECONDS.labels(route, method), seconds)
                seconds.clear()


def method_of(scope: Scope) -> str:
    """Return the method of a request, or "other" for one that nobody needs to tell apart."""
    return scope["method"] if scope["method"] in _METHODS else "other"


def route_of(scope: Scope) -> str:
    """Return the template of a request's path, and "none" for a path that is not served."""
    for route in scope["app"].routes:
        if route.endpoint is scope.get("endpoint"):
            return str(route.path)
    return "none"
