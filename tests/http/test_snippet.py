"""GET /tallymark.js: its size, its headers, and types that are those of the API."""

import gzip
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.access.keys import new_key
from service.events import ClickPayload, LocationPayload, ViewPayload
from service.pages import CLIENT
from service.snippet import SOURCE, compressed, without_comments
from tests.http.support import assert_problem
from tests.support.services import running_service

MAX_BYTES = 2000
USAGE = Path(__file__).with_name("snippet_usage.ts")
INSTALL = "ci --prefer-offline --ignore-scripts --no-audit --no-fund --loglevel=error"
COMPILE = (
    "node_modules/typescript/bin/tsc --noEmit --strict --target es2022 --lib es2022,dom "
    "tallymark.d.ts snippet_usage.ts"
)
PAYLOADS = {"view": ViewPayload, "click": ClickPayload, "location": LocationPayload}


def test_it_stays_below_two_kilobytes(
    service: httpx.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    with service.stream("GET", "/tallymark.js", headers={"Accept-Encoding": "gzip"}) as answer:
        size = len(b"".join(answer.iter_raw()))
    with capsys.disabled():
        print(f"\ntallymark.js: {size} bytes as gzip, at most {MAX_BYTES}")
    assert size <= MAX_BYTES


def test_it_is_the_source_without_comments(service: httpx.Client) -> None:
    served = service.get("/tallymark.js").text
    source = [line.strip() for line in SOURCE.read_text().splitlines()]
    lines = "".join(line for line in source if line[:2] != "//")
    assert re.sub(r"\s", "", served) == re.sub(r"\s", "", lines)
    # Behind one that is not on a line of its own, the next line would be lost.
    assert not re.search(r"^\s|//", served, re.MULTILINE)


def test_only_lines_of_comment_are_left_out() -> None:
    source = '// one\n\n  a("https://b"); // two\n  // three\n\tlet c = (d) => e == d;\n'
    assert without_comments(source) == 'a("https://b"); // two\nlet c=(d)=>e==d;'


def test_blanks_are_left_out_where_they_say_nothing() -> None:
    source = "let { a, b } = c ? { d: -e } : f - -1 + +g;\n"
    assert without_comments(source) == "let {a,b}=c?{d:-e}:f - -1 + +g;"


def test_ends_of_lines_are_kept_where_they_may_end_a_statement() -> None:
    source = "if (a) {\n  b(1,\n    2)\n  c()\n}\n(d)\n"
    assert without_comments(source) == "if (a) {b(1,2)\nc()\n}\n(d)\n"


@pytest.mark.parametrize("coding", ["gzip", "gzip, br, zstd", "identity", ""])
def test_it_comes_in_the_coding_that_is_taken(service: httpx.Client, coding: str) -> None:
    headers = {"Accept-Encoding": coding}
    with service.stream("GET", "/tallymark.js", headers=headers) as answer:
        body = b"".join(answer.iter_raw())
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers.get("content-encoding") == ("gzip" if "gzip" in coding else None)
    script = gzip.decompress(body) if "gzip" in coding else body
    assert script.decode() == without_comments(SOURCE.read_text())


def test_it_shows_the_write_key_that_it_is_asked_for_with(service: httpx.Client) -> None:
    plain = service.get("/tallymark.js")
    key = new_key("write")
    shown = service.get("/tallymark.js", params={"key": key})
    assert shown.text == plain.text.replace('events/batch"', f'events/batch?key={key}"')
    assert shown.text.count(key) == 2
    assert shown.headers["etag"] != plain.headers["etag"]
    # What could be no such key, or would be no secret any more, has no place in it.
    for other in ("", "x", '");alert("', key[:-1], f"{key}0", new_key("read")):
        assert service.get("/tallymark.js", params={"key": other}).text == plain.text


def test_the_same_script_is_the_same_bytes() -> None:
    assert compressed("x") == compressed("x")


def test_it_may_be_kept_and_is_not_sent_again(service: httpx.Client) -> None:
    first = service.get("/tallymark.js")
    assert first.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "max-age=3600" in first.headers["cache-control"]
    again = service.get("/tallymark.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("etag", "cache-control", "vary"):
        assert again.headers[name] == first.headers[name]
    other = service.get("/tallymark.js", headers={"If-None-Match": 'W/"other"'})
    assert (other.status_code, other.text) == (200, first.text)


def test_only_reading_is_allowed(service: httpx.Client) -> None:
    head = service.head("/tallymark.js")
    assert (head.status_code, head.content) == (200, b"")
    assert_problem(service.post("/tallymark.js"), 405)


@pytest.fixture
def choosy(shared_database_url: str) -> Iterator[httpx.Client]:
    """A client of a service that allows one origin."""
    allowed = "https://a.example"
    with (
        running_service(database_url=shared_database_url, cors_allowed_origins=allowed) as url,
        httpx.Client(base_url=url) as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [("https://a.example", "https://a.example"), ("https://b.example", "*"), (None, "*")],
)
def test_every_page_may_load_it(choosy: httpx.Client, origin: str | None, allowed: str) -> None:
    answer = choosy.get("/tallymark.js", headers={} if origin is None else {"Origin": origin})
    assert answer.headers["access-control-allow-origin"] == allowed
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"


def test_the_types_are_those_of_the_events() -> None:
    types = SOURCE.with_suffix(".d.ts").read_text()
    found = dict(re.findall(r"^  (\w+): \{ (.*) \};$", types, re.MULTILINE))
    assert found.keys() == PAYLOADS.keys()
    for event_type, model in PAYLOADS.items():
        members = re.findall(r"(\w+)(\??): ", found[event_type].split("[key")[0])
        assert {name for name, _ in members} == model.__annotations__.keys()
        optional = {name for name, mark in members if mark}
        assert optional == {n for n, a in model.__annotations__.items() if "NotRequired" in str(a)}


def test_pages_of_typescript_compile_with_them(tmp_path: Path) -> None:
    vendor = CLIENT / "vendor"
    for file in (*vendor.glob("package*.json"), SOURCE.with_suffix(".d.ts"), USAGE):
        shutil.copy(file, tmp_path)
    # npm comes with Node.js as a Python package, and looks for the other beside itself.
    folder = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    for program, arguments in (("npm", INSTALL), ("node", COMPILE)):
        done = subprocess.run(
            [folder / program, *arguments.split()],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
