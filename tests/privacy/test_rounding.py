"""Coordinates are rounded by setting, before they are stored anywhere."""

import json
from math import ulp
from pathlib import Path

import httpx
import psycopg
from hypothesis import given
from hypothesis import strategies as st

from service.events import parse_event
from service.ingest.spool.segments import read
from service.rounding import rounding
from tests.support.services import running_service

LOCATION = {
    "user_id": "ann",
    "event_type": "location",
    "payload": {"latitude": 52.520008, "longitude": 13.404954, "accuracy": 5.25, "x": [1.23456]},
}
ROUNDED = LOCATION["payload"] | {"latitude": 52.52, "longitude": 13.4}  # type: ignore[operator]

latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)


@given(latitudes, longitudes, st.integers(0, 15))
def test_what_is_rounded_is_near_and_still_on_the_globe(
    latitude: float, longitude: float, decimals: int
) -> None:
    payload = {"latitude": latitude, "longitude": longitude, "n": 10**30, "u": "é\u2028"}
    event = parse_event(json.dumps(LOCATION | {"payload": payload}).encode())
    rounded = rounding(decimals)(event)
    stored = json.loads(rounded.payload)
    assert rounded._replace(payload=b"") == event._replace(payload=b"")
    for name, given_value in (("latitude", latitude), ("longitude", longitude)):
        assert stored[name] == round(given_value, decimals)
        assert abs(stored[name] - given_value) <= 0.500001 * 10**-decimals + ulp(given_value)
    assert abs(stored["latitude"]) <= 90
    assert abs(stored["longitude"]) <= 180
    assert stored["n"] == 10**30
    assert stored["u"] == payload["u"]
    assert rounding(decimals)(rounded) == rounded


def test_nothing_is_rounded_by_default_and_nothing_but_locations() -> None:
    location = parse_event(json.dumps(LOCATION).encode())
    assert rounding(None)(location) is location
    view = parse_event(
        b'{"user_id":"a","event_type":"view","payload":{"url":"/","latitude":1.23456}}'
    )
    assert rounding(0)(view) is view


def test_what_is_stored_is_rounded(database_url: str) -> None:
    with running_service(database_url=database_url, location_decimals=2) as base_url:
        httpx.post(f"{base_url}/events", json=LOCATION).raise_for_status()
        httpx.post(f"{base_url}/events/batch", json=[LOCATION, LOCATION]).raise_for_status()
    with psycopg.connect(database_url) as connection:
        stored = connection.execute("select payload from events").fetchall()
    assert stored == [(ROUNDED,)] * 3


def test_what_is_spooled_is_rounded(tmp_path: Path) -> None:
    with running_service(
        database_url="postgresql://127.0.0.1:1/none", location_decimals=2, spool_directory=tmp_path
    ) as base_url:
        httpx.post(f"{base_url}/events", json=LOCATION, timeout=20).raise_for_status()
        spooled = [one for path in tmp_path.glob("*/*.events") for one in read(path)]
    (event,) = spooled
    assert not isinstance(event, int)
    assert json.loads(event.payload) == ROUNDED
