"""A visit: a walk from page to page, with clicks on what they hold and reports of the place."""

from collections.abc import Sequence

from service.events import EventType
from service.sample_data.audience import Audience
from service.sample_data.draws import Draws, lottery
from service.sample_data.site import Page

Draft = tuple[int, bytes, EventType, bytes]
"""An event that has no id yet: milliseconds since 1970, user_id, event_type, payload."""

# 60 % views, 30 % clicks, 10 % locations.
CLICKS_PER_VIEW, LOCATIONS_PER_VIEW = 30 / 60, 10 / 60

BOUNCE, ANOTHER_VIEW, MOST_VIEWS = 0.3, 0.76, 30
"""The share of visits that see one page, and the chance that those which see two see another."""

VIEWS = [(1, BOUNCE)] + [
    (views, (1 - BOUNCE) * (1 - ANOTHER_VIEW) * ANOTHER_VIEW ** (views - 2))
    for views in range(2, MOST_VIEWS + 1)
]
_MEAN_VIEWS = sum(views * share for views, share in VIEWS) / sum(share for _, share in VIEWS)

# The chances of a click that stays on the page; of one that leads to the next view (the others are
# typed, searched for, or gone back to); of a report of the place with the first and later views.
CONTROL_CLICK = 0.2
LINK_CLICK = (CLICKS_PER_VIEW - CONTROL_CLICK) * _MEAN_VIEWS / (_MEAN_VIEWS - 1)
FIRST_LOCATION = 0.4
LATER_LOCATION = (LOCATIONS_PER_VIEW * _MEAN_VIEWS - FIRST_LOCATION) / (_MEAN_VIEWS - 1)


class Visits:
    """Makes visits that begin on any of some pages."""

    def __init__(self, entries: Sequence[Page], audience: Audience, draws: Draws) -> None:
        self._entries = entries
        self._audience = audience
        self._draws = draws
        self._views = lottery(VIEWS, tickets=1024)
        # Milliseconds: reading a page (18 seconds as often as not), loading the one that was
        # clicked on, finding the place. A pause is always shorter than the half hour that ends a
        # session.
        self._reading = _milliseconds(draws, 2.9, 1.1, least=1, most=1200)
        self._loading = _milliseconds(draws, -1.2, 0.6, least=0.06, most=5)
        self._locating = _milliseconds(draws, 0.7, 0.7, least=0.2, most=15)

    def visit(self, begin_ms: int, hour: int) -> list[Draft]:
        """Return one visit from its first view on, in time order. `hour` is that of the UTC day."""
        random, pick = self._draws.random, self._draws.pick
        user = self._audience.arrival(hour)
        user_id = self._audience.user_id(user)
        page, now = pick(self._entries), begin_ms
        drafts: list[Draft] = []
        for views_left in reversed(range(pick(self._views))):
            drafts.append((now, user_id, "view", page.view))
            if random() < (FIRST_LOCATION if now == begin_ms else LATER_LOCATION):
                now += pick(self._locating)
                drafts.append((now, user_id, "location", self._audience.location(user)))
            now += pick(self._reading)
            if random() < CONTROL_CLICK:
                drafts.append((now, user_id, "click", pick(page.controls)))
                now += pick(self._reading)
            if views_left and random() < LINK_CLICK:
                payload, page = pick(page.links)
                drafts.append((now, user_id, "click", payload))
                now += pick(self._loading)
            else:
                page = pick(self._entries)
        return drafts


def _milliseconds(draws: Draws, mu: float, sigma: float, *, least: float, most: float) -> list[int]:
    seconds = draws.log_normal(mu, sigma, least=least, most=most, count=4096)
    return [round(1000 * duration) for duration in seconds]
