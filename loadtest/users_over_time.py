"""How many users there are at which moment of a shape."""

from service.sample_data.audience import BY_LOCAL_HOUR


def doubled(users: int) -> list[int]:
    """Return the stages of a ramp: the powers of two below `users`, and `users`."""
    return [1 << power for power in range((users - 1).bit_length())] + [users]


def at_time_of_day(day: float, busiest: int) -> int:
    """Return how many users a site has at a part of the day, with `busiest` in its busiest hour."""
    hour = BY_LOCAL_HOUR[int(day * 24) % 24]
    return max(1, round(busiest * hour / max(BY_LOCAL_HOUR)))
