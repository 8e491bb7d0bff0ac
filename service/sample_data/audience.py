"""The users: who they are, where they live, when they are awake, how often they come."""

from collections.abc import Callable
from itertools import accumulate, pairwise
from math import cos, radians
from typing import NamedTuple

from faker import Faker

from service.sample_data.draws import Draws, lottery

BY_LOCAL_HOUR = (
    4,
    3,
    2,
    2,
    2,
    3,
    6,
    12,
    20,
    26,
    28,
    28,
    30,
    29,
    27,
    26,
    26,
    28,
    32,
    38,
    40,
    34,
    22,
    10,
)
"""How busy users are by the hour of their day."""

KM_PER_DEGREE = 111.32


class City(NamedTuple):
    """Where users live; `utc_offset` in whole hours, which is near enough for a rhythm."""

    name: str
    latitude: float
    longitude: float
    utc_offset: int
    weight: int

    @property
    def km_per_degree_east(self) -> float:
        """How long a degree of longitude is here."""
        return KM_PER_DEGREE * cos(radians(self.latitude))


CITIES = (
    City("Berlin", 52.5200, 13.4050, 1, 14),
    City("London", 51.5072, -0.1276, 0, 12),
    City("Paris", 48.8566, 2.3522, 1, 9),
    City("Munich", 48.1351, 11.5820, 1, 8),
    City("Hamburg", 53.5511, 9.9937, 1, 7),
    City("New York", 40.7128, -74.0060, -5, 7),
    City("Amsterdam", 52.3676, 4.9041, 1, 6),
    City("Vienna", 48.2082, 16.3738, 1, 5),
    City("Madrid", 40.4168, -3.7038, 1, 5),
    City("Zurich", 47.3769, 8.5417, 1, 4),
    City("Milan", 45.4642, 9.1900, 1, 4),
    City("Warsaw", 52.2297, 21.0122, 1, 3),
    City("San Francisco", 37.7749, -122.4194, -8, 3),
    City("Toronto", 43.6532, -79.3832, -5, 2),
    City("Mumbai", 19.0760, 72.8777, 5, 2),
    City("Singapore", 1.3521, 103.8198, 8, 2),
    City("São Paulo", -23.5558, -46.6396, -3, 2),
    City("Tokyo", 35.6762, 139.6503, 9, 2),
    City("Sydney", -33.8688, 151.2093, 10, 2),
    City("Cape Town", -33.9249, 18.4241, 2, 1),
)


class District(NamedTuple):
    """The users of a city: a run of numbers, the most frequent visitor first."""

    city: City
    first_user: int
    users: int


class User(NamedTuple):
    """A user; all about one follows from the number and the city."""

    number: int
    city: City


class Audience:
    """All users, in their cities."""

    def __init__(self, users: int, faker: Faker, draws: Draws) -> None:
        districts = _districts(users)
        busy = [[_busy(district.city, hour) for district in districts] for hour in range(24)]
        self.busy_by_hour = [sum(weights) for weights in busy]
        """How busy the site is by the hour of the UTC day."""
        self._awake = [
            lottery(zip(districts, weights, strict=True), tickets=512) for weights in busy
        ]
        self._draws = draws
        self._salt = draws.getrandbits(64)
        self._first_names = _distinct(lambda: faker.first_name().lower(), 150)
        self._last_names = _distinct(lambda: faker.last_name().lower(), 250)
        # Kilometres north and east: of a home from its city's centre; of a report from the home, as
        # a part of its accuracy. Lengths without a common divisor, so that pairs don't repeat.
        self._homes = [(draws.gauss(0, 6), draws.gauss(0, 6)) for _ in range(4093)]
        self._errors = [draws.gauss(0, 0.6) for _ in range(2039)]
        self._accuracies = draws.log_normal(3.2, 1.2, least=3, most=5000, count=2048)

    def arrival(self, hour: int) -> User:
        """Draw who comes in an hour of the UTC day. A few users come often, most seldom."""
        district = self._draws.pick(self._awake[hour])
        rank = int(district.users * self._draws.random() ** 1.6)
        return User(district.first_user + rank, district.city)

    def user_id(self, user: User) -> bytes:
        """Return a user's own id: a name for three in five, a browser's number for the others."""
        if user.number % 5 < 2:
            # An odd factor permutes the 64-bit numbers.
            scattered = user.number * 0x9E37_79B9_7F4A_7C15 + self._salt
            return b"anon-%016x" % (scattered & 0xFFFF_FFFF_FFFF_FFFF)
        # One pair of names for each number, and a suffix from when all pairs are taken.
        rest, first = divmod(user.number, len(self._first_names))
        repeats, last = divmod(rest, len(self._last_names))
        last = (last + first) % len(self._last_names)
        suffix = str(repeats + 1) if repeats else ""
        return f"{self._first_names[first]}.{self._last_names[last]}{suffix}".encode()

    def location(self, user: User) -> bytes:
        """Return the payload of a report: the user's home, as well as the device knows it."""
        pick = self._draws.pick
        north, east = self._homes[user.number % len(self._homes)]
        accuracy = pick(self._accuracies)
        north += pick(self._errors) * accuracy / 1000
        east += pick(self._errors) * accuracy / 1000
        latitude = user.city.latitude + north / KM_PER_DEGREE
        longitude = user.city.longitude + east / user.city.km_per_degree_east
        return b'{"latitude":%.6f,"longitude":%.6f,"accuracy":%.1f}' % (
            latitude,
            longitude,
            accuracy,
        )


def _districts(users: int) -> list[District]:
    total = sum(city.weight for city in CITIES)
    bounds = [
        round(users * reached / total)
        for reached in accumulate((city.weight for city in CITIES), initial=0)
    ]
    return [
        District(city, first, end - first)
        for city, (first, end) in zip(CITIES, pairwise(bounds), strict=True)
        if end > first
    ]


def _busy(city: City, utc_hour: int) -> float:
    return city.weight * BY_LOCAL_HOUR[(utc_hour + city.utc_offset) % 24]


def _distinct(draw: Callable[[], str], count: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        found[draw()] = None
    return list(found)
