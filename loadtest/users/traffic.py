"""The events of a site, as requests: the visits that the sample data are made of."""

import json
import secrets
import time
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

from faker import Faker
from uuid_utils import uuid7

from service.events import EventType
from service.sample_data.audience import Audience
from service.sample_data.draws import Draws
from service.sample_data.site import build_site
from service.sample_data.visits import Draft, Visits

AUDIENCE_USERS = 20_000
BETWEEN_VISITS_SECONDS = 30.0
BODIES = 5000


class SentEvent(NamedTuple):
    """An event, and the body of the request that sends it."""

    event_type: EventType
    body: bytes

    def under_an_id(self) -> "SentEvent":
        """Return the event under an id of its sender's, so that it can be sent again."""
        return self._replace(body=b'{"event_id":"%s",%s' % (str(uuid7()).encode(), self.body[1:]))


class Traffic:
    """Visits of one site by one audience; each process draws visits of its own."""

    def __init__(self) -> None:
        faker = Faker("en_US")
        faker.seed_instance("0 faker")
        audience = Audience(AUDIENCE_USERS, faker, Draws("0 audience"))
        site = build_site(faker, Draws("0 site"))
        self._visits = Visits(site, audience, Draws(secrets.token_hex()))

    def walk(self) -> Iterator[tuple[SentEvent, float]]:
        """Yield one visit's events after the other's, with the seconds until the next event."""
        while True:
            now = time.time()
            visit = self._visits.visit(int(now * 1000), int(now // 3600 % 24))
            times = [draft[0] for draft in visit]
            for draft, at, following in zip(visit, times, times[1:], strict=False):
                yield _as_request(draft), (following - at) / 1000
            yield _as_request(visit[-1]), BETWEEN_VISITS_SECONDS

    def bodies(self) -> list[SentEvent]:
        """Return events of many visits, encoded once, to be sent again and again."""
        return [event for event, _ in islice(self.walk(), BODIES)]


@cache
def site_traffic() -> Traffic:
    """Return this process's traffic. Not before a fork: workers would draw the same visits."""
    return Traffic()


def prepare(**_: Any) -> None:
    """Make the traffic before users start: it takes half a second, which answers would seem to."""
    bodies()


@cache
def bodies() -> list[SentEvent]:
    """Return this process's bodies."""
    return site_traffic().bodies()


def _as_request(draft: Draft) -> SentEvent:
    _, user_id, event_type, payload = draft
    body = b'{"user_id":%s,"event_type":"%s","payload":%s}' % (
        json.dumps(user_id.decode()).encode(),
        event_type.encode(),
        payload,
    )
    return SentEvent(event_type, body)
