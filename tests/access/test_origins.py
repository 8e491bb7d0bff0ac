"""CORS_ALLOWED_ORIGINS on ingest: a page of another origin stores nothing, asked for or not."""

from collections.abc import Iterator

import httpx
import pytest

from tests.access.support import asking_service, auth
from tests.http.support import assert_problem
from tests.support.databases import Database
from tests.support.services import running_service, service_client

OURS = "https://www.example.com"
THEIRS = "https://evil.example"


@pytest.fixture(scope="module")
def allowing(shared_database_url: str) -> Iterator[httpx.Client]:
    with service_client(database_url=shared_database_url, cors_allowed_origins=OURS) as client:
        yield client


def send(client: httpx.Client, path: str, **headers: str) -> httpx.Response:
    """Send as a page does that is not asked for a preflight."""
    body = "[{}]" if path.endswith("batch") else "{}"
    text = '{"user_id":"u","event_type":"click","payload":{}}'
    return client.post(
        path, content=body.replace("{}", text), headers={"Content-Type": "text/plain"} | headers
    )


@pytest.mark.parametrize("path", ["/events", "/events/batch"])
@pytest.mark.parametrize("origin", [THEIRS, "null", "https://www.example.com.evil.example", ""])
def test_another_origin_s_page_stores_nothing(
    allowing: httpx.Client, database: Database, path: str, origin: str
) -> None:
    count = "select count(*) from events"
    before = database.execute(count).fetchone()
    problem = assert_problem(send(allowing, path, Origin=origin), 403)
    assert problem["type"].endswith("origin-not-allowed")
    assert database.execute(count).fetchone() == before


@pytest.mark.parametrize("path", ["/events", "/events/batch"])
def test_an_allowed_origin_a_backend_and_the_service_s_own_pages_store(
    allowing: httpx.Client, path: str
) -> None:
    own = str(allowing.base_url).rstrip("/")
    assert send(allowing, path).status_code == 202
    assert send(allowing, path, Origin=OURS).status_code == 202
    assert send(allowing, path, Origin=own).status_code == 202


def test_every_origin_stores_where_none_or_every_one_is_named(
    service: httpx.Client, shared_database_url: str
) -> None:
    assert send(service, "/events", Origin=THEIRS).status_code == 202
    with running_service(database_url=shared_database_url, cors_allowed_origins="*") as url:
        client = httpx.Client(base_url=url)
        assert send(client, "/events", Origin=THEIRS).status_code == 202
        client.close()


def test_a_key_does_not_help_another_origin_and_may_be_shown_after_a_preflight(
    shared_database_url: str, keys: dict[str, str]
) -> None:
    with asking_service(shared_database_url, cors_allowed_origins=OURS) as client:
        key = auth(keys["write 1"])
        assert_problem(send(client, "/events", Origin=THEIRS, **key), 403)
        assert send(client, "/events", Origin=OURS, **key).status_code == 202
        refused = client.get("/events", headers={"Origin": OURS})
        assert_problem(refused, 401)
        assert refused.headers["access-control-allow-origin"] == OURS
        preflight = client.options(
            "/events",
            headers={
                "Origin": OURS,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization",
            },
        )
        assert preflight.status_code == 200
        assert "Authorization" in preflight.headers["access-control-allow-headers"]


def test_reads_are_left_to_the_browser(allowing: httpx.Client) -> None:
    answer = allowing.get("/events", headers={"Origin": THEIRS})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
