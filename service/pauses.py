"""When a process that has ended is started again."""

STEADY_SECONDS = 10.0
FIRST_SECONDS, LONGEST_SECONDS = 0.5, 30.0


class Pauses:
    """At once where it has lived for STEADY_SECONDS; else after a pause that doubles each time."""

    def __init__(self) -> None:
        self._pause = 0.0

    def after(self, lived_seconds: float) -> float:
        """Return how many seconds to wait now that it has ended."""
        longer = max(FIRST_SECONDS, min(2 * self._pause, LONGEST_SECONDS))
        self._pause = 0 if lived_seconds >= STEADY_SECONDS else longer
        return self._pause
