"""How often a sender may come: token buckets, in the memory of each worker.

A library was measured: `limits` has windows, no buckets, and takes 12 to 28 microseconds a request,
where this takes one, and an event some hundred.
"""

import math
import time
from collections.abc import Callable, Hashable, Sequence
from ipaddress import AddressValueError, IPv6Address

from starlette.types import Scope

from service.access.keys import Key
from service.events import MICROSECONDS, Event
from service.problems import NOTHING_STORED, Problem, ProblemKind

BURST_SECONDS = 10.0
"""A bucket holds what comes in so long a time: pages send what has waited all at once."""
MOST_BUCKETS = 10_000
"""With more it is looked for those that are full again, and need not be remembered."""
MINUTE = 60.0


class Buckets:
    """Token buckets by name. What is more than a bucket holds may go into debt once it is full."""

    def __init__(
        self, per_second: float, holds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds_each = 1 / per_second
        self._seconds_in_all = max(holds, 1.0) / per_second
        self._clock = clock
        self._full_at: dict[Hashable, float] = {}
        self._most = MOST_BUCKETS

    def spend(self, name: Hashable, amount: int = 1) -> float:
        """Return 0 where it was spent, else nothing was: after so many seconds it may be tried."""
        now = self._clock()
        full_at = max(self._full_at.get(name, now), now)
        # At least one must be there, or as much as the bucket holds.
        least = min(amount * self._seconds_each, self._seconds_in_all)
        wait = full_at - now + least - self._seconds_in_all
        if wait > 0:
            return wait
        self._full_at[name] = full_at + amount * self._seconds_each
        if len(self._full_at) > self._most:
            self._forget(now)
        return 0.0

    def give_back(self, name: Hashable, amount: int) -> None:
        """Let what was spent count as if it had not been."""
        if name in self._full_at:
            self._full_at[name] -= amount * self._seconds_each

    def _forget(self, now: float) -> None:
        self._full_at = {name: at for name, at in self._full_at.items() if at > now}
        self._most = max(MOST_BUCKETS, 2 * len(self._full_at))


class Rates:
    """How many requests a key, and an address, may make."""

    def __init__(self, *, key_per_second: float | None, address_per_second: float | None) -> None:
        self._keys = _buckets(key_per_second)
        self._addresses = _buckets(address_per_second)

    def count_address(self, scope: Scope) -> None:
        """Count a request for its address. Raises Problem where these are too many."""
        if self._addresses is not None:
            client = scope.get("client")
            _refuse_after(self._addresses.spend(client and sender_of(client[0])), "address")

    def count_key(self, key: Key) -> None:
        """Count a request for its key. Raises Problem where these are too many."""
        if self._keys is not None:
            _refuse_after(self._keys.spend(key.id), "key")


class LateEvents:
    """How many events a key may send that are older than some minutes."""

    def __init__(self, *, per_minute: int, after_minutes: int) -> None:
        self._buckets = Buckets(per_minute / MINUTE, per_minute)
        self._after = after_minutes * 60 * MICROSECONDS

    def count(self, key: Key, events: Sequence[Event]) -> int:
        """Count those that are late, and return how many there are.

        Raises Problem where they are too many: none may be kept.
        """
        before = time.time_ns() // 1000 - self._after
        late = sum(event.timestamp < before for event in events)
        if late and (wait := self._buckets.spend(key.id, late)):
            raise Problem(
                ProblemKind.TOO_MANY_LATE_EVENTS, NOTHING_STORED, headers=_retry_after(wait)
            )
        return late

    def give_back(self, key: Key, late: int) -> None:
        """Count so many less: they were not kept, and will be sent again."""
        self._buckets.give_back(key.id, late)


def sender_of(address: str) -> str | int:
    """Return what stands for who has an address: of IPv6, who has one has the 2^64 beside it."""
    if ":" not in address:
        return address
    try:
        found = IPv6Address(address)
    except AddressValueError:
        return address
    return str(found.ipv4_mapped) if found.ipv4_mapped else int(found) >> 64


def _buckets(per_second: float | None) -> Buckets | None:
    return None if per_second is None else Buckets(per_second, per_second * BURST_SECONDS)


def _refuse_after(wait: float, whose: str) -> None:
    if wait:
        raise Problem(
            ProblemKind.TOO_MANY_REQUESTS,
            f"So many requests of one {whose} are not answered. Send it again later.",
            headers=_retry_after(wait),
        )


def _retry_after(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(math.ceil(seconds))}
