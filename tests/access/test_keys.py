"""Keys: none, wrong, of another kind, of another site; on every route of the API's description."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest

from service.access.checks import MAY
from service.access.described import BY_KIND, OPEN, kind_of
from service.access.keys import id_of
from service.access.records import records
from service.documentation import openapi
from tests.access.support import asking_service, auth
from tests.embedded.conftest import eventually
from tests.http.support import assert_problem, event, exchange, status_of
from tests.support.databases import Database

DESCRIPTION = openapi(keys_required=True)
EVENT_ID = "019ab697-e87b-7d57-872c-f4cea7318df9"

Operation = tuple[str, str, dict[str, Any]]


def operations(*, are_open: bool) -> Iterator[Operation]:
    for path, methods in DESCRIPTION["paths"].items():
        for method, operation in methods.items():
            if (path in OPEN) is are_open:
                yield method, path.replace("{event_id}", EVENT_ID), operation


GUARDED = list(operations(are_open=False))
READS = [(method, path, one) for method, path, one in GUARDED if method == "get"]
OF_SITES = [
    (path, one)
    for _, path, one in READS
    if "site" in {parameter["name"] for parameter in one["parameters"]}
]


def names(cases: list[Any]) -> list[str]:
    return [" ".join(part for part in case if isinstance(part, str)) for case in cases]


def ask(client: httpx.Client, method: str, path: str, key: str | None, **query: Any) -> Any:
    """Send what is valid but for its key."""
    if path.endswith("over-time"):
        query |= {"interval": "day", "start_date": "2025-05-01", "end_date": "2025-05-02"}
    if path.startswith("/users"):
        query |= {"user_id": "u"}
    body = [event()] if path.endswith("batch") else event()
    return client.request(
        method,
        path,
        params=query,
        headers={} if key is None else auth(key),
        json=body if method == "post" else None,
    )


def test_what_is_open_and_what_is_not_is_all_that_is_served() -> None:
    assert {path for _, path, _ in operations(are_open=True)} == set(OPEN)
    assert len(GUARDED) >= 12
    assert len(OF_SITES) == len(READS) - 1, "all but /metrics are about a site"


@pytest.mark.parametrize("path", [*OPEN, "/docs", "/openapi.json", "/login", "/demo/"])
def test_what_is_open_takes_no_key(asking: httpx.Client, path: str) -> None:
    assert asking.get(path).status_code == 200


@pytest.mark.parametrize(("method", "path", "described"), GUARDED, ids=names(GUARDED))
def test_each_route_wants_a_key_of_its_kind(
    asking: httpx.Client, keys: dict[str, str], method: str, path: str, described: dict[str, Any]
) -> None:
    wrong = keys["write 1"][:-1] + ("0" if keys["write 1"][-1] != "0" else "1")
    unknown = "tmr_" + "0" * 10 + "_" + "0" * 64
    for key in (None, "x", wrong, unknown, f"{keys['admin all']}x"):
        answer = ask(asking, method, path, key)
        assert_problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith('Bearer realm="tallymark"')
    kind = kind_of(path, method)
    assert kind is not None
    other = [name for name in keys if name.split()[0] not in MAY[kind]]
    assert other
    for name in other:
        assert_problem(ask(asking, method, path, keys[name]), 403)
    assert {"401", "403", "429", "503"} <= set(described["responses"])
    assert described["security"] == BY_KIND[kind]


@pytest.mark.parametrize(("path", "described"), OF_SITES, ids=names(OF_SITES))
def test_another_site_s_key_reads_nothing_on_any_route(
    asking: httpx.Client, keys: dict[str, str], path: str, described: dict[str, Any]
) -> None:
    wanted = kind_of(path, "get")
    assert wanted is not None
    assert described["security"] == BY_KIND[wanted]
    for kind in MAY[wanted]:
        for other in ("1", "01", "3", "32767", "9" * 5000):
            assert_problem(ask(asking, "get", path, keys[f"{kind} 2"], site=other), 403)
        for both in ({"site": ["2", "1"]}, {"site": ["1", "2"]}):
            assert ask(asking, "get", path, keys[f"{kind} 2"], **both).status_code in (400, 403)
        # In other letters, and behind what ends a query elsewhere.
        for query in ("%73ite=1", "s%69te=2&site=1", "site=2;site=1", "site=%31"):
            answer = asking.get(f"{path}?{query}", headers=auth(keys[f"{kind} 2"]))
            assert answer.status_code in (400, 403), query
        for own in ({}, {"site": "2"}):
            answer = ask(asking, "get", path, keys[f"{kind} 2"], **own)
            assert answer.status_code in (200, 404), answer.text
        for site in (1, 2):
            answer = ask(asking, "get", path, keys[f"{kind} all"], site=site)
            assert answer.status_code in (200, 404), answer.text


def test_metrics_are_for_keys_of_all_sites(asking: httpx.Client, keys: dict[str, str]) -> None:
    assert_problem(ask(asking, "get", "/metrics", keys["read 1"]), 403)
    answer = ask(asking, "get", "/metrics", keys["read all"])
    assert "tallymark_requests_total" in answer.text


@pytest.mark.usefixtures("no_events")
def test_an_event_is_of_the_site_of_its_key_and_read_by_that_site_s_keys(
    asking: httpx.Client, keys: dict[str, str], database: Database
) -> None:
    one = ask(asking, "post", "/events", keys["write 1"]).json()["event_id"]
    two = ask(asking, "post", "/events", keys["write 2"]).json()["event_id"]
    lines = "\n".join(['{"user_id":"u","event_type":"click","payload":{}}'] * 2 + ["{}"])
    ndjson = auth(keys["write 2"]) | {"Content-Type": "application/x-ndjson"}
    for body, headers in ((lines, ndjson), (lines.replace("{}\n{", "{}\n {"), ndjson)):
        assert asking.post("/events/batch", content=body, headers=headers).json()["accepted"] == 2
    assert ask(asking, "post", "/events/batch", keys["write 2"]).json()["accepted"] == 1
    sites = database.execute("select site_id, count(*) from events group by 1 order by 1")
    assert sites.fetchall() == [(1, 1), (2, 6)]
    for site, count in ((1, 1), (2, 6)):
        counts = ask(asking, "get", "/analytics/event-counts", keys[f"read {site}"])
        assert counts.json() == {"total_events": count}
        page = ask(asking, "get", "/events", keys[f"read {site}"]).json()["events"]
        assert [found["site"] for found in page] == [site] * count
        export = ask(asking, "get", "/events/export", keys[f"read {site}"]).text
        assert export.count(f'"site":{site}') == len(export.splitlines()) == count
    assert ask(asking, "get", f"/events/{two}", keys["read 2"]).json()["site"] == 2
    assert_problem(ask(asking, "get", f"/events/{one}", keys["read 2"]), 404)
    assert_problem(ask(asking, "get", f"/events/{one}", keys["read 2"], site=1), 403)


@pytest.mark.usefixtures("no_events")
def test_a_cursor_of_another_site_leads_to_nothing_of_it(
    asking: httpx.Client, keys: dict[str, str]
) -> None:
    for site in (2, 1, 2, 1, 1):
        ask(asking, "post", "/events", keys[f"write {site}"]).raise_for_status()
    cursor = ask(asking, "get", "/events", keys["read 1"], limit=1).json()["next"]
    page = ask(asking, "get", "/events", keys["read 2"], cursor=cursor).json()
    assert [found["site"] for found in page["events"]] == [2, 2]


SPELLINGS = [
    *("/events", "/%65vents", "/events%2F", "/events/", "//events", "/./events", "/x/../events"),
    *(
        "/EVENTS",
        "/events;x",
        "/events%00",
        "/events%20",
        "/events%3Fx",
        "/events/batch",
        "/events%2Fbatch",
    ),
    *("/events/export", "/events%2fexport", "/%6detrics", "/metrics/", "/users", "/users%2Fexport"),
    *("/analytics%2fevent-counts", "/analytics//event-counts", "http://x/events", "*"),
]
METHODS = ("GET", "HEAD", "POST", "post", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND")


@pytest.mark.parametrize("path", SPELLINGS)
def test_no_spelling_of_a_path_or_a_method_goes_past_the_check(
    asking: httpx.Client, database: Database, path: str
) -> None:
    count = "select count(*) from events"
    before = database.execute(count).fetchone()
    body = json.dumps(event()).encode()
    for method in METHODS:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        head += f"X-HTTP-Method-Override: POST\r\nContent-Length: {len(body)}\r\n\r\n"
        answer = exchange(asking.base_url, head.encode() + body)
        assert status_of(answer) in (400, 401, 404, 405), (method, answer)
    assert database.execute(count).fetchone() == before


def test_a_beacon_shows_its_key_in_the_query(asking: httpx.Client, keys: dict[str, str]) -> None:
    for path, body in (("/events", event()), ("/events/batch", [event()])):
        answer = asking.post(f"{path}?key={keys['write 2']}", json=body)
        assert answer.status_code == 202
        assert_problem(asking.post(f"{path}?key=x", json=body), 401)
        assert_problem(asking.post(f"{path}?key={keys['read 2']}", json=body), 403)
        assert_problem(asking.post(f"{path}?key={keys['write 2']}&x=1", json=body), 400)
        for other in ("x", keys["write 1"], keys["write 2"]):
            both = f"{path}?key={keys['write 2']}&key={other}"
            assert_problem(asking.post(both, json=body), 401)
    # Addresses are kept in many places: keys that read are no part of them.
    assert_problem(asking.get(f"/events?key={keys['read 2']}"), 401)


def test_a_scheme_that_is_not_bearer_is_told_what_is(
    asking: httpx.Client, keys: dict[str, str]
) -> None:
    answer = asking.get("/events", headers={"Authorization": f"Basic {keys['read 1']}"})
    assert "Bearer" in assert_problem(answer, 401)["detail"]
    lower = {"Authorization": f"bearer {keys['read 1']}"}
    assert asking.get("/events", headers=lower).status_code == 200


def test_what_is_refused_is_not_stored(
    asking: httpx.Client, keys: dict[str, str], database: Database
) -> None:
    count = "select count(*) from events"
    before = database.execute(count).fetchone()
    for key in (None, "x", keys["read 1"], keys["admin all"]):
        assert ask(asking, "post", "/events", key).status_code in (401, 403)
        assert ask(asking, "post", "/events/batch", key).status_code in (401, 403)
    assert database.execute(count).fetchone() == before


def test_without_keys_nothing_is_asked(service: httpx.Client, keys: dict[str, str]) -> None:
    assert keys
    assert service.post("/events", json=event()).status_code == 202
    assert service.post("/events?key=whatever", json=event()).status_code == 202
    assert service.get("/metrics").status_code == 200
    assert service.get("/dashboard/").status_code == 200
    for path in ("/login", "/logout"):
        assert service.post(path).status_code == 404


def test_a_new_key_is_taken_at_once(asking: httpx.Client, shared_database_url: str) -> None:
    with asking_service(shared_database_url, keys_refresh_seconds=3600) as client:
        with records(shared_database_url) as known:
            key = known.create_key("read", 1, "new")
        assert ask(client, "get", "/events", key).status_code == 200


def test_a_revoked_key_is_refused_once_the_keys_are_read_again(
    asking: httpx.Client, shared_database_url: str
) -> None:
    with records(shared_database_url) as known:
        key, other = (known.create_key("write", 1, "") for _ in range(2))
        assert ask(asking, "post", "/events", key).status_code == 202
        known.revoke(id_of(key))
        eventually(lambda: ask(asking, "post", "/events", key).status_code == 401, 30)
        assert ask(asking, "post", "/events", other).status_code == 202


def test_a_key_that_has_expired_is_refused_without_the_database(shared_database_url: str) -> None:
    with records(shared_database_url) as known:
        key = known.create_key("read", 1, "")
    with psycopg.connect(shared_database_url, autocommit=True) as connection:
        connection.execute(
            "update keys set expires_at = now() + interval '2 s' where id = %s", [id_of(key)]
        )
    with asking_service(shared_database_url, keys_refresh_seconds=3600) as client:
        eventually(lambda: ask(client, "get", "/events", key).status_code == 401, 30)


def test_both_keys_live_while_one_is_rotated(
    asking: httpx.Client, shared_database_url: str
) -> None:
    with records(shared_database_url) as known:
        old = known.create_key("write", 2, "")
        new = known.rotate(id_of(old), timedelta(hours=1))
        last = known.rotate(id_of(new), timedelta())
    for key in (old, last):
        assert ask(asking, "post", "/events", key).status_code == 202
    assert_problem(ask(asking, "post", "/events", new), 401)
