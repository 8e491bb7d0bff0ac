"""Sample events as a site makes them: a pure function of its arguments, in time order, as a stream.

An invented shop is visited by an invented audience. Users live in cities and come back, some often
and most seldom; a visit is a walk from page to page with clicks on what those pages hold. Memory
does not grow with the number of events or users: a user is worked out from a number when needed.
"""

import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from datetime import date

from faker import Faker

from service.events import DEFAULT_SITE, Event
from service.sample_data.audience import Audience
from service.sample_data.calendar import FIRST_DAY, HOUR_MS, LAST_DAY, Calendar
from service.sample_data.draws import Draws
from service.sample_data.site import build_site
from service.sample_data.visits import Draft, Visits

BATCH_EVENTS = 10_000
"""How many events make a batch, about: those of visits that still go on wait for a later one."""

_uuid = struct.Struct(">QQ").pack


def default_users(events: int) -> int:
    """Return an audience in which a user makes some four visits."""
    return max(1, events // 25)


def generate(
    *, events: int, start: date, end: date, users: int | None = None, seed: int = 0
) -> Iterator[list[Event]]:
    """Return exactly so many events of the UTC days `start` to `end`, both included, in batches.

    They are in time order, across batches too. `users` is the size of the audience, of which some
    may never show up. The same arguments give the same events, byte for byte, with the same version
    of Faker. Raises ValueError, at once, with a line for the person who chose the arguments.
    """
    users = default_users(events) if users is None else users
    _refuse_impossible(events, start, end, users)

    # A stream for each purpose: the draws of one don't move those of another.
    def draws(purpose: str) -> Draws:
        return Draws(f"{seed} {purpose}")

    faker = Faker("en_US")
    faker.seed_instance(f"{seed} faker")
    audience = Audience(users, faker, draws("audience"))
    visits = Visits(build_site(faker, draws("site")), audience, draws("visits"))
    calendar = Calendar(events, start, end, audience.busy_by_hour, draws("calendar"))
    return _with_ids(_in_order(events, calendar, visits, draws("arrivals")), draws("event ids"))


def _refuse_impossible(events: int, start: date, end: date, users: int) -> None:
    if events < 1:
        raise ValueError(f"There must be at least one event, not {events}.")
    if users < 1:
        raise ValueError(f"There must be at least one user, not {users}.")
    if start > end:
        raise ValueError(f"The start, {start}, is after the end, {end}.")
    if start < FIRST_DAY or end > LAST_DAY:
        raise ValueError(f"The days must lie from {FIRST_DAY} to {LAST_DAY}.")


def _in_order(
    events: int, calendar: Calendar, visits: Visits, draws: Draws
) -> Iterator[list[Draft]]:
    """Yield batches of exactly so many drafts, in time order.

    A visit begins when its first event is due, so visits begin in order, and whatever lies before
    the newest beginning can be given away: only visits that still go on are held.
    """
    made, place, full = 0, draws.random(), BATCH_EVENTS
    held: list[Draft] = []
    for hour in calendar:
        while made < events and place <= hour.due:
            part = (place - hour.due_before) / (hour.due - hour.due_before)
            begin_ms = hour.start_ms + min(HOUR_MS - 1, int(part * HOUR_MS))
            visit = visits.visit(begin_ms, hour.of_day)[: events - made]
            while visit[-1][0] >= calendar.end_ms:
                visit.pop()
            held += visit
            made += len(visit)
            place = made + draws.random()
            if len(held) >= full:
                held.sort()
                ready = bisect_left(held, (begin_ms,))
                yield held[:ready]
                del held[:ready]
                full = len(held) + BATCH_EVENTS
    yield sorted(held)


def _with_ids(batches: Iterable[list[Draft]], draws: Draws) -> Iterator[list[Event]]:
    random_bits = draws.getrandbits
    for drafts in batches:
        yield [
            Event(
                milliseconds * 1000,
                # A UUIDv7: the millisecond, version 7 and 12 random bits, variant 2 and 62 more.
                _uuid(
                    milliseconds << 16 | 0x7000 | random_bits(12),
                    0x8000_0000_0000_0000 | random_bits(62),
                ),
                DEFAULT_SITE,
                user_id,
                event_type,
                payload,
            )
            for milliseconds, user_id, event_type, payload in drafts
        ]
