"""The dashboard by a login: a form that works without JavaScript, and a signed cookie."""

import errno
import html
import os
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import httpx
import pytest
from itsdangerous import TimestampSigner

from service.access.cookies import COOKIE, Cookies
from service.access.files import kept_secret
from service.access.keys import id_of
from service.access.records import records
from tests.access.support import asking_service
from tests.embedded.conftest import eventually
from tests.http.support import assert_problem, event
from tests.support.services import ServiceProcess

SECRET = "a secret of forty characters, or some more"
COUNTS = "/analytics/event-counts"


@pytest.fixture
def browser(asking: httpx.Client) -> Iterator[httpx.Client]:
    """Who has cookies of its own, at the service that asks for keys."""
    with httpx.Client(base_url=asking.base_url, timeout=20) as client:
        yield client


def log_in(browser: httpx.Client, key: str, **headers: str) -> httpx.Response:
    return browser.post("/login", data={"key": key}, headers=headers)


def test_the_dashboard_leads_to_the_login_and_the_login_back(
    browser: httpx.Client, keys: dict[str, str]
) -> None:
    shown = "/dashboard/?start_date=2025-05-01&tz=Europe%2FBerlin"
    led = browser.get(shown)
    assert led.status_code == 303
    form = browser.get(led.headers["location"])
    assert form.status_code == 200
    assert "<script" not in form.text
    assert "script-src" not in form.headers["content-security-policy"]
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form.text))
    assert html.unescape(fields["next"]) == shown
    fields = {name: html.unescape(value) for name, value in fields.items()}
    answer = browser.post("/login", data=fields | {"key": f" {keys['read 1']} "})
    assert (answer.status_code, answer.headers["location"]) == (303, shown)
    assert browser.get(shown).status_code == 200
    assert browser.get(COUNTS).status_code == 200
    assert "You are logged in" in browser.get("/login").text


def test_the_cookie_is_for_this_site_s_pages_only_and_names_no_key(
    browser: httpx.Client, keys: dict[str, str]
) -> None:
    cookie = log_in(browser, keys["read 1"]).headers["set-cookie"]
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/", "max-age=43200"} <= parts
    # Over HTTP it would not come back.
    assert "secure" not in parts
    assert keys["read 1"] not in cookie
    assert keys["read 1"][15:] not in cookie


def test_behind_a_trusted_proxy_with_tls_it_is_secure(
    shared_database_url: str, keys: dict[str, str]
) -> None:
    with asking_service(shared_database_url, trusted_proxies=("127.0.0.1",)) as client:
        answer = log_in(client, keys["read 1"], **{"X-Forwarded-Proto": "https"})
        assert "secure" in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize(("trusted", "is_secure"), [("127.0.0.0/8", True), ("10.0.0.2", False)])
def test_a_proxy_of_ipv4_is_known_where_the_service_listens_on_both(
    shared_database_url: str, keys: dict[str, str], tmp_path: Path, trusted: str, is_secure: bool
) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    service = ServiceProcess(
        shared_database_url,
        tmp_path / "log",
        HOST="::",
        KEYS_REQUIRED="true",
        TRUSTED_PROXIES=trusted,
    )
    with service.running(), httpx.Client(base_url=service.base_url, timeout=20) as client:
        answer = log_in(client, keys["read 1"], **{"X-Forwarded-Proto": "https"})
    assert ("secure" in answer.headers["set-cookie"].lower()) is is_secure


def test_only_keys_that_read_log_in(browser: httpx.Client, keys: dict[str, str]) -> None:
    for key in ("", "x", f"{keys['read 1']}0", keys["read 1"][:-1] + "é"):
        answer = log_in(browser, key)
        assert answer.status_code == 401
        assert 'role="alert"' in answer.text
    assert log_in(browser, keys["write 1"]).status_code == 403
    assert not browser.cookies
    assert log_in(browser, keys["admin all"]).status_code == 303


def test_the_cookie_reads_what_its_key_reads(browser: httpx.Client, keys: dict[str, str]) -> None:
    log_in(browser, keys["read 2"])
    assert browser.get(COUNTS, params={"site": 2}).status_code == 200
    assert_problem(browser.get(COUNTS, params={"site": 1}), 403)
    assert_problem(browser.get("/metrics"), 403)


def test_the_cookie_writes_nothing(browser: httpx.Client, keys: dict[str, str]) -> None:
    log_in(browser, keys["admin all"])
    assert_problem(browser.post("/events", json=event()), 401)
    assert_problem(browser.post("/events/batch", json=[event()]), 401)


def test_the_cookie_erases_and_exports_nobody(browser: httpx.Client, keys: dict[str, str]) -> None:
    log_in(browser, keys["admin all"])
    assert_problem(browser.get("/users/export?user_id=x"), 401)
    assert_problem(browser.delete("/users?user_id=x"), 401)


def test_the_cookie_is_read_beside_others_that_are_odd(
    browser: httpx.Client, keys: dict[str, str]
) -> None:
    own = log_in(browser, keys["read 1"]).headers["set-cookie"].partition(";")[0]
    browser.cookies.clear()
    for other in ('a={"b": 1}', "a b=1", "é=ü", "=", ";;"):
        for both in (f"{other}; {own}", f"{own}; {other}"):
            given = [(b"Cookie", both.encode())]
            assert browser.get(COUNTS, headers=given).status_code == 200, both
    for forged in (own[:-1], f"{COOKIE}=é", f"{COOKIE}=", f'{COOKIE}="\\777"', COOKIE):
        assert_problem(browser.get(COUNTS, headers=[(b"Cookie", forged.encode())]), 401)


def test_the_dashboard_of_a_key_shows_its_site(browser: httpx.Client, keys: dict[str, str]) -> None:
    log_in(browser, keys["read 2"])
    for query, led in (("", "site=2"), ("range=7d&tz=UTC", "range=7d&tz=UTC&site=2")):
        answer = browser.get(f"/dashboard/?{query}")
        assert answer.headers["location"] == f"/dashboard/?{led}"
        assert browser.get(answer.headers["location"]).status_code == 200
    assert browser.get("/dashboard/?site=1").status_code == 200, "what is asked for is answered"
    for whole in ("read 1", "read all"):
        log_in(browser, keys[whole])
        assert browser.get("/dashboard/").status_code == 200


def test_a_key_in_the_header_goes_before_the_cookie(
    browser: httpx.Client, keys: dict[str, str]
) -> None:
    log_in(browser, keys["read 1"])
    wrong = {"Authorization": "Bearer x"}
    assert_problem(browser.get(COUNTS, headers=wrong), 401)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_form_of_another_page_is_refused(
    browser: httpx.Client, keys: dict[str, str], headers: dict[str, str]
) -> None:
    assert_problem(log_in(browser, keys["read 1"], **headers), 403)
    assert not browser.cookies
    log_in(browser, keys["read 1"])
    assert_problem(browser.post("/logout", headers=headers), 403)
    assert browser.get(COUNTS).status_code == 200


def test_a_form_of_its_own_is_not(browser: httpx.Client, keys: dict[str, str]) -> None:
    own = str(browser.base_url).rstrip("/")
    assert log_in(browser, keys["read 1"], Origin=own).status_code == 303
    # Some browsers send the origin as null where a page has no referrer.
    own_fetch = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}
    assert log_in(browser, keys["read 1"], **own_fetch).status_code == 303


def test_a_logout_takes_the_cookie_away(browser: httpx.Client, keys: dict[str, str]) -> None:
    log_in(browser, keys["read 1"])
    answer = browser.post("/logout", data={"x": "1"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert_problem(browser.get(COUNTS), 401)


@pytest.mark.parametrize(
    "following",
    ["//evil.example/", "https://evil.example/", "/\\evil.example", "/dashboard/\r\nX: y", "/docs"],
)
def test_a_login_leads_to_the_dashboard_and_nowhere_else(
    browser: httpx.Client, keys: dict[str, str], following: str
) -> None:
    answer = browser.post("/login", data={"key": keys["read 1"], "next": following})
    assert answer.headers["location"] == "/dashboard/"


def test_what_is_in_next_is_text(browser: httpx.Client) -> None:
    answer = browser.get("/login", params={"next": '/dashboard/?"><script>alert(1)</script>'})
    assert "<script" not in answer.text


def test_a_forged_or_old_cookie_is_none(asking: httpx.Client, keys: dict[str, str]) -> None:
    key_id = id_of(keys["read 1"])
    other = TimestampSigner(b"x" * 32, salt=COOKIE).sign(key_id).decode()
    for value in (key_id, other, f"{key_id}.x.y", "", "é", '"'):
        cookie = f"{COOKIE}={value}".encode()
        assert_problem(asking.get(COUNTS, headers={b"Cookie": cookie}), 401)


def test_a_login_ends_after_its_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    cookies = Cookies(SECRET.encode(), hours=1)
    value = cookies._signer.sign("0123456789")
    scope = {"headers": [(b"cookie", b"a=b; " + f"{COOKIE}=".encode() + value)]}
    assert cookies.key_id(scope) == "0123456789"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3602)
    assert cookies.key_id(scope) is None


def test_a_revoked_key_s_login_ends_with_it(
    browser: httpx.Client, shared_database_url: str
) -> None:
    with records(shared_database_url) as known:
        key = known.create_key("read", 1, "")
        log_in(browser, key)
        assert browser.get(COUNTS).status_code == 200
        known.revoke(id_of(key))
    eventually(lambda: browser.get(COUNTS).status_code == 401, 30)
    assert browser.get("/dashboard/").status_code == 303


def test_the_secret_is_made_once_and_only_its_owner_reads_it(
    shared_database_url: str, keys: dict[str, str], tmp_path: Path
) -> None:
    cookies = httpx.Cookies()
    for _ in range(2):
        with asking_service(shared_database_url, spool_directory=tmp_path) as client:
            client.cookies = cookies
            if not cookies:
                log_in(client, keys["read 1"])
                cookies = client.cookies
            assert client.get(COUNTS).status_code == 200
    secret = tmp_path / "login-secret"
    assert len(secret.read_bytes()) == 32
    assert secret.stat().st_mode & 0o777 == 0o600


def test_many_at_once_have_one_secret_on_a_disk_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "new" / "login-secret"
    together = Barrier(8)

    def start(_: int) -> bytes:
        together.wait(60)
        return kept_secret(path)

    with ThreadPoolExecutor(8) as starts:
        assert set(starts.map(start, range(8))) == {path.read_bytes()}
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_secret_is_read_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = kept_secret(tmp_path / "login-secret")
    monkeypatch.setattr(os, "open", None)
    assert kept_secret(tmp_path / "login-secret") == secret


def test_a_secret_that_is_given_serves_several_instances(
    shared_database_url: str, keys: dict[str, str]
) -> None:
    given = {"login_secret": SECRET}
    with (
        asking_service(shared_database_url, **given) as one,
        asking_service(shared_database_url, **given) as other,
    ):
        log_in(one, keys["read 1"])
        other.cookies = one.cookies
        assert other.get(COUNTS).status_code == 200


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"key=" + b"x" * 5000, "application/x-www-form-urlencoded", 413),
        (b'{"key": "x"}', "application/json", 415),
        (b"key=%ff%00&key=x", "application/x-www-form-urlencoded", 401),
    ],
)
def test_what_is_no_form_is_refused(
    browser: httpx.Client, content: bytes, media_type: str, status: int
) -> None:
    answer = browser.post("/login", content=content, headers={"Content-Type": media_type})
    assert answer.status_code == status
