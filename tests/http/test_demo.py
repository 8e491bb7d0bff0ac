"""GET /demo/: the files of client/, their types, and nothing else."""

import httpx
import pytest

from service.pages import CLIENT
from tests.http.support import assert_problem, exchange, status_of

TYPES = {
    "index.html": "text/html",
    "service-worker.js": "text/javascript",
    "demo.js": "text/javascript",
    "demo.css": "text/css",
    "theme.css": "text/css",
}


def media_type(answer: httpx.Response) -> str:
    """Return the type of an answer; Python before 3.12 knows JavaScript's old name."""
    name = answer.headers["content-type"].split(";")[0]
    return "text/javascript" if name == "application/javascript" else name


def test_demo_leads_to_the_folder(service: httpx.Client) -> None:
    answer = service.get("/demo")
    assert answer.is_redirect
    assert answer.headers["location"] == "/demo/"


def test_the_folder_is_the_page(service: httpx.Client) -> None:
    answer = service.get("/demo/")
    assert media_type(answer) == "text/html"
    assert answer.content == (CLIENT / "index.html").read_bytes()


def test_every_file_is_named_here() -> None:
    assert {file.name for file in CLIENT.iterdir() if file.is_file()} == TYPES.keys()


@pytest.mark.parametrize("name", TYPES)
def test_a_file_is_served_under_its_type_and_not_kept(service: httpx.Client, name: str) -> None:
    answer = service.get(f"/demo/{name}")
    assert answer.status_code == 200
    assert media_type(answer) == TYPES[name]
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.content == (CLIENT / name).read_bytes()


def test_a_file_that_is_known_already_is_not_sent_again(service: httpx.Client) -> None:
    etag = service.get("/demo/demo.js").headers["etag"]
    answer = service.get("/demo/demo.js", headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/demo/", "/demo/service-worker.js"])
def test_head_is_answered_without_a_body(service: httpx.Client, path: str) -> None:
    answer = service.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == service.get(path).headers["content-length"]


@pytest.mark.parametrize("path", ["/demo/", "/demo/demo.js"])
def test_nothing_can_be_posted_there(service: httpx.Client, path: str) -> None:
    answer = service.post(path)
    assert_problem(answer, 405)
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("path", ["nothing.js", "index.html/", "%00", "x" * 300, "a/b.js"])
def test_what_is_not_there_is_404(service: httpx.Client, path: str) -> None:
    assert_problem(service.get(f"/demo/{path}"), 404)


@pytest.mark.parametrize(
    "path",
    [
        ".",
        "..",
        "../README.md",
        "%2e%2e/README.md",
        "..%2fREADME.md",
        "/etc/passwd",
        "%2fetc%2fpasswd",
    ],
)
def test_nothing_outside_the_folder_is_served(service: httpx.Client, path: str) -> None:
    # As bytes: httpx would leave the dots out.
    request = f"GET /demo/{path} HTTP/1.1\r\nHost: tallymark\r\nConnection: close\r\n\r\n"
    answer = exchange(service.base_url, request.encode())
    assert status_of(answer) == 404
    assert b"urn:tallymark:problem:not-found" in answer


@pytest.mark.parametrize("name", TYPES)
def test_nothing_is_loaded_from_another_host(service: httpx.Client, name: str) -> None:
    text = service.get(f"/demo/{name}").text
    assert "https://" not in text
    for url in ("http://127.0.0.1:8000", "http://www.w3.org/2000/svg"):
        text = text.replace(url, "")
    assert "http://" not in text
