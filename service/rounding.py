"""Coordinates are rounded, by setting, before anything is stored."""

from collections.abc import Callable

from pydantic_core import from_json, to_json

from service.events import Event

COORDINATES = ("latitude", "longitude")

Rounding = Callable[[Event], Event]


def rounding(decimals: int | None) -> Rounding | None:
    """Return what rounds the coordinates of a location to so many decimals; None: nothing does.

    A decimal is 11 km, two are 1.1 km, three 110 m.
    """
    if decimals is None:
        return None

    def rounded(event: Event) -> Event:
        if event.event_type != "location":
            return event
        payload = from_json(event.payload)
        payload |= {name: round(payload[name], decimals) for name in COORDINATES}
        return event._replace(payload=to_json(payload))

    return rounded
