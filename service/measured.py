"""Requests, counted and timed by route, method and status."""

from starlette.types import Scope

from service.metrics import REQUEST_SECONDS, REQUESTS, observe_all

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Measured:
    """Takes note of answers, and tells the metrics of them now and then.

    To tell them at each request takes as long as to validate an event.
    """

    def __init__(self) -> None:
        self._seconds: dict[tuple[object, str, int], list[float]] = {}
        """By endpoint, method and status: what was not told yet, and whose labels are known."""
        self._labels: dict[tuple[object, str, int], tuple[str, str, int]] = {}

    def note(self, scope: Scope, status: int, seconds: float) -> None:
        """Take note of a request; a status of 0 is none, where the sender went away."""
        # The router leaves the endpoint there.
        key = scope.get("endpoint"), scope["method"], status
        times = self._seconds.get(key)
        if times is None:
            self._labels[key] = route_of(scope), method_of(scope), status
            times = self._seconds[key] = []
        times.append(seconds)

    def tell(self) -> None:
        """Let the metrics have all that was noted."""
        for key, times in self._seconds.items():
            if times:
                route, method, status = self._labels[key]
                REQUESTS.labels(route, method, status).inc(len(times))
                observe_all(REQUEST_SECONDS.labels(route, method), times)
                times.clear()


def method_of(scope: Scope) -> str:
    """Return the method of a request, or "other" for one that nobody needs to tell apart."""
    return scope["method"] if scope["method"] in _METHODS else "other"


def route_of(scope: Scope) -> str:
    """Return the template of a request's path, and "none" for a path that is not served."""
    for route in scope["app"].routes:
        if route.endpoint is scope.get("endpoint"):
            return str(route.path)
    return "none"
