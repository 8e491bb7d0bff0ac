"""Who loads the service. Each task has tags, by which a scenario chooses (--tags, --exclude-tags).

Statistics are by endpoint; a malformed request has a name of its own.
"""

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import Any

from locust import FastHttpUser, tag, task
from locust.contrib.fasthttp import ResponseContextManager
from locust.exception import StopUser

from loadtest.checks.tally import TALLY, Answer, Counts
from loadtest.users import batches, malformed
from loadtest.users.batches import Batch, encode
from loadtest.users.malformed import MALFORMED
from loadtest.users.ranges import draw_query
from loadtest.users.selection import requests
from loadtest.users.traffic import SentEvent, bodies, site_traffic
from service.events import EVENT_TYPES

BATCHES = 20
"""So many a user makes before it begins."""
RESENDS = (2, 3)
AFTER_A_FAILURE_SECONDS = 0.2
"""A service that is gone refuses at once: this keeps Locust from spinning."""


class ServiceUser(FastHttpUser):
    """One keep-alive connection to the service."""

    abstract = True
    host = "http://127.0.0.1:8000"
    concurrency = 1
    connection_timeout = 10.0
    network_timeout = 20.0
    default_headers = {"Content-Type": "application/json"}  # noqa: RUF012 - Locust's, for each class

    _leaving = False

    def stop(self, force: bool = False) -> bool:
        """Leave; a request that is on its way has its answer first.

        Locust kills a user that waits, and one whose wait is over at this very moment would be
        killed in its next request.
        """
        self._leaving = True
        stopped: bool = super().stop(force)
        return stopped

    def send(self, event: SentEvent, *, times: int = 1) -> None:
        """Send an event, so many times; only a 202 is a success."""
        events: Counts = Counter([str(event.event_type)])
        with self.noting(events) as answers:
            for _ in range(times):
                answer, response = self.post("/events", event.body)
                answers.append(answer)
                self.settle(response, answer.unlike_202)

    def send_batch(self, batch: Batch, *, times: int = 1) -> None:
        """Send a batch, so many times; it is stored once."""
        with self.noting(batch.events) as answers:
            for _ in range(times):
                stored = any(answer.status == 202 for answer in answers)
                answer, response = self.post("/events/batch", batch.body, batch.headers)
                answers.append(answer)
                self.settle(response, batches.what_is_wrong(batch, answer, again=stored))

    @contextmanager
    def noting(self, events: Counts) -> Iterator[list[Answer]]:
        """Note what is sent before it is, and then the answers that are put into the list."""
        if self._leaving:
            raise StopUser
        TALLY.sent.update(events)
        answers: list[Answer] = []
        yield answers
        TALLY.note(events, answers)

    def post(
        self, path: str, body: bytes, headers: dict[str, str] | None = None
    ) -> tuple[Answer, ResponseContextManager]:
        """Post a body, and return the answer; it has to be settled."""
        response = self.client.post(path, data=body, headers=headers, catch_response=True)  # type: ignore[arg-type]
        error = getattr(response, "error", None)
        return Answer(response.status_code, response.content, error), response

    def settle(self, response: ResponseContextManager, wrong: str | None) -> None:
        """Say what a request was, whatever Locust would make of its status; None is a success."""
        with response:
            if wrong is None:
                response.success()
                return
            # Without an answer the reason is the error.
            error = getattr(response, "error", None)
            response.failure(error if response.status_code == 0 and error else wrong)
        time.sleep(AFTER_A_FAILURE_SECONDS)

    def think(self) -> float:
        """Return the seconds that a reader takes to look at an answer."""
        mean: float = self.environment.parsed_options.think_seconds
        return mean * random.uniform(0.5, 1.5)


class Sender(ServiceUser):
    """Sends event after event, as many as it can."""

    weight = 6

    def on_start(self) -> None:
        """Begin anywhere."""
        events = bodies()
        first = random.randrange(len(events))
        self._events = cycle(events[first:] + events[:first])

    @requests("POST /events")
    @tag("ingest", "single")
    @task
    def send_event(self) -> None:
        """Send one."""
        self.send(next(self._events))


class Batcher(ServiceUser):
    """Sends batch after batch of --batch-events, as many as it can."""

    weight = 2

    def on_start(self) -> None:
        """Make batches of all forms once, to be sent again and again."""
        size: int = self.environment.parsed_options.batch_events
        chance = random.Random()
        made = [encode(chance.choices(bodies(), k=size), chance) for _ in range(BATCHES)]
        self._batches = cycle(made)

    @requests("POST /events/batch")
    @tag("ingest", "batches")
    @task
    def send_a_batch(self) -> None:
        """Send one."""
        self.send_batch(next(self._batches))


class Resender(ServiceUser):
    """Sends under ids of its own, twice or three times, as one who is not sure that it arrived."""

    weight = 2

    def on_start(self) -> None:
        """Have a mind of one's own."""
        self._chance = random.Random()

    def wait_time(self) -> float:
        """Return the seconds until there is something new."""
        return self.think() / 10

    @requests("POST /events")
    @tag("ingest", "resends")
    @task
    def send_event(self) -> None:
        """Send one event again."""
        event = self._chance.choice(bodies()).under_an_id()
        self.send(event, times=self._chance.choice(RESENDS))

    @requests("POST /events/batch")
    @tag("ingest", "resends")
    @task
    def send_a_batch(self) -> None:
        """Send a whole batch again."""
        size: int = self.environment.parsed_options.batch_events
        events = [event.under_an_id() for event in self._chance.choices(bodies(), k=size)]
        self.send_batch(encode(events, self._chance), times=self._chance.choice(RESENDS))


class Visitor(ServiceUser):
    """Visits the site: page after page, with clicks and reports of the place, and pauses between.

    --speed says how many times faster than people: how many of them one Visitor stands for.
    """

    weight = 20

    def on_start(self) -> None:
        """Come to the site."""
        self._walk = site_traffic().walk()
        self._pause = 0.0

    def wait_time(self) -> float:
        """Return the seconds until this visit's next event."""
        speed: float = self.environment.parsed_options.speed
        return self._pause / speed

    @requests("POST /events")
    @tag("ingest", "visits")
    @task
    def send_event(self) -> None:
        """Send what the visitor does next."""
        event, self._pause = next(self._walk)
        self.send(event)


class Reader(ServiceUser):
    """Looks at counts."""

    weight = 2

    def on_start(self) -> None:
        """Have a mind of one's own."""
        self._chance = random.Random()

    def wait_time(self) -> float:
        """Return the seconds until the next look."""
        return self.think()

    @requests("GET /analytics/event-counts")
    @tag("counts")
    @task(3)
    def event_counts(self) -> None:
        """Ask how many events there are in a range."""
        response = self._get("/analytics/event-counts", by_type=False)
        self.settle(response, _unlike(response, _is_total))

    @requests("GET /analytics/event-counts-by-type")
    @tag("counts")
    @task(2)
    def event_counts_by_type(self) -> None:
        """Ask the same by type."""
        response = self._get("/analytics/event-counts-by-type", by_type=True)
        self.settle(response, _unlike(response, _is_by_type))

    def _get(self, path: str, *, by_type: bool) -> ResponseContextManager:
        query = draw_query(self._chance, by_type=by_type)
        return self.client.get(f"{path}?{query}", name=path, catch_response=True)


class Blunderer(ServiceUser):
    """Sends what is malformed; a success is the right 400."""

    weight = 1

    def wait_time(self) -> float:
        """Return the seconds until the next mistake."""
        return self.think()

    @requests(*{f"{request.method} {request.name}" for request in MALFORMED})
    @tag("malformed")
    @task
    def send_malformed_request(self) -> None:
        """Send one, and see that the answer names what is wrong."""
        request = random.choice(MALFORMED)
        response = self.client.request(
            request.method,
            f"{request.path}?{request.query}" if request.query else request.path,
            data=request.body,  # type: ignore[arg-type]
            name=request.name,
            catch_response=True,
        )
        wrong = malformed.what_is_wrong(request, response.status_code, response.content)
        self.settle(response, wrong)


Members = dict[str, Any]


def _unlike(response: ResponseContextManager, is_right: Callable[[Members], bool]) -> str | None:
    if response.status_code != 200:
        return f"answered {response.status_code} instead of 200"
    try:
        answer = json.loads(response.content)
    except ValueError:
        return "answered what is not JSON"
    right = isinstance(answer, dict) and is_right(answer)
    return None if right else f"answered {answer!r:.100}"


def _is_total(answer: Members) -> bool:
    return answer.keys() == {"total_events"} and type(answer["total_events"]) is int


def _is_by_type(answer: Members) -> bool:
    return answer.keys() <= set(EVENT_TYPES) and all(count > 0 for count in answer.values())
