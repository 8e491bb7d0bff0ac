"""What Locust sends is what it is meant to be: valid events, ranges that are counted, mistakes."""

import json
from itertools import islice, pairwise
from random import Random

import httpx

from loadtest.users.malformed import MALFORMED, what_is_wrong
from loadtest.users.ranges import KINDS, draw_query
from loadtest.users.traffic import Traffic
from service.analytics.parameters import CountQuery, RangeQuery, parse_query
from service.events import EVENT_TYPES, parse_event


def test_visits_are_valid_events_of_users_who_stay_for_a_while() -> None:
    walk = list(islice(Traffic().walk(), 3000))
    for sent, pause in walk:
        assert parse_event(sent.body).event_type == sent.event_type
        assert pause >= 0
    users = [parse_event(sent.body).user_id for sent, _ in walk]
    again = sum(1 for one, following in pairwise(users) if one == following)
    assert again > len(walk) / 2
    assert len(set(users)) > 100
    shares = {name: sum(sent.event_type == name for sent, _ in walk) for name in EVENT_TYPES}
    assert shares["view"] > shares["click"] > shares["location"] > 0


def test_each_process_draws_visits_of_its_own() -> None:
    one, another = (list(islice(Traffic().walk(), 20)) for _ in range(2))
    assert one != another


def test_each_range_can_be_counted() -> None:
    chance = Random(1)
    queries = {draw_query(chance, by_type=by_type) for by_type in (False, True) * 500}
    assert len(queries) > len(KINDS)
    for query in queries:
        model = CountQuery if "event_type" in query else RangeQuery
        parse_query(model, query.encode()).half_open()


def test_each_malformed_request_gets_its_400(client: httpx.Client) -> None:
    for request in MALFORMED:
        answer = client.request(
            request.method,
            request.path,
            params=request.query,
            content=request.body,
            headers={"Content-Type": "application/json"},
        )
        assert what_is_wrong(request, answer.status_code, answer.content) is None, request


def test_another_answer_than_the_400_that_names_the_field_is_wrong() -> None:
    request = MALFORMED[2]
    named = json.dumps({"errors": [{"field": request.field, "message": ""}]}).encode()
    other = json.dumps({"errors": [{"field": "payload", "message": ""}]}).encode()
    assert what_is_wrong(request, 400, named) is None
    for status, body in [(202, named), (500, named), (0, None), (400, other), (400, b"{}")]:
        assert what_is_wrong(request, status, body) is not None
