"""docs/try.http: every request in it is answered as it says, in its order, on a fresh database."""

import json
import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from starlette.routing import Route

from service.app import create_app
from service.documentation import openapi
from service.settings import Settings
from tests.support.services import running_service

FILE = Path(__file__).parents[1] / "docs" / "try.http"

ROUTES = [
    route
    for route in create_app(
        Settings(database_url="postgresql://127.0.0.1/none", users_api=True)
    ).routes
    if isinstance(route, Route)
]


# What an earlier request's answer holds, as the REST Client of VS Code writes it.
REFERENCE = re.compile(r"\{\{(\w+)\.response\.body\.\$\.(\w+)\}\}")


class Example(NamedTuple):
    """One request of the file, and what it must be answered."""

    title: str
    name: str | None
    """By which later requests refer to its answer."""
    method: str
    path: str
    headers: dict[str, str]
    body: str
    status: int
    answer: Any
    """The JSON of the answer; None where the file does not say."""

    @property
    def route(self) -> str:
        """The path as the service's routes have it."""
        path = self.path.split("?")[0]
        return next((route.path for route in ROUTES if route.path_regex.match(path)), path)

    def send(self, client: httpx.Client, answers: dict[str, Any]) -> httpx.Response:
        """Send it as a client does that reads such files, and knows the earlier answers."""
        path = REFERENCE.sub(lambda found: answers[found[1]][found[2]], self.path)
        # Built from parts, httpx would escape the query anew; the file's is sent as it stands.
        url = httpx.URL(str(client.base_url).rstrip("/") + path)
        body = REFERENCE.sub(lambda found: answers[found[1]][found[2]], self.body)
        return client.request(self.method, url, headers=self.headers, content=body)


def read_examples(text: str) -> list[Example]:
    """Return the requests of a file: `### title`, comments, method line, headers, body.

    From the method line on nothing is a comment: clients send a # in a body.
    """
    blocks = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    return [_example(block) for block in blocks if not block.startswith("====")]


def _example(block: str) -> Example:
    title, *lines = block.splitlines()
    notes = list(takewhile(lambda line: line.startswith("#"), lines))
    head, _, body = "\n".join(lines[len(notes) :]).strip().partition("\n\n")
    line, *headers = head.splitlines()
    method, url = line.split(" ")
    return Example(
        title,
        next(
            (note.removeprefix("# @name ") for note in notes if note.startswith("# @name ")), None
        ),
        method,
        url.removeprefix("{{host}}"),
        dict(header.split(": ", 1) for header in headers),
        body,
        int(_noted(notes, "expect") or 0),
        json.loads(_noted(notes, "expect-body") or "null"),
    )


def _noted(notes: list[str], name: str) -> str | None:
    found = [note.removeprefix(f"# {name}: ") for note in notes if note.startswith(f"# {name}: ")]
    assert len(found) <= 1, f"{name} is said twice: {notes}"
    return found[0] if found else None


EXAMPLES = read_examples(FILE.read_text())


def test_the_file_is_read_as_its_clients_read_it() -> None:
    text = (
        "@host = http://127.0.0.1:8000\n\n### ==== A part ====\n\n### One\n# expect: 202\n"
        '# @name one\n# expect-body: {"a": 1}\nPOST {{host}}/x?y=+1\nA: b: c\n\n{\n# "k": 1\n}\n\n'
        "### Two\n# expect: 404\nGET {{host}}/\n"
    )
    assert read_examples(text) == [
        Example("One", "one", "POST", "/x?y=+1", {"A": "b: c"}, '{\n# "k": 1\n}', 202, {"a": 1}),
        Example("Two", None, "GET", "/", {}, "", 404, None),
    ]


def test_every_request_says_what_to_expect() -> None:
    assert EXAMPLES
    assert [example.title for example in EXAMPLES if not 200 <= example.status < 600] == []


@pytest.fixture
def client(database_url: str) -> Iterator[httpx.Client]:
    """A client of a service that serves all there is."""
    with (
        running_service(database_url=database_url, users_api=True) as base_url,
        httpx.Client(base_url=base_url) as client,
    ):
        yield client


def test_every_request_is_answered_as_the_file_says(client: httpx.Client) -> None:
    wrong = []
    answers: dict[str, Any] = {}
    for example in EXAMPLES:
        answer = example.send(client, answers)
        if example.name is not None:
            answers[example.name] = answer.json()
        if answer.status_code != example.status:
            wrong.append(f"{example.title}: {answer.status_code}, not {example.status}")
        elif example.answer is not None and answer.json() != example.answer:
            wrong.append(f"{example.title}: {answer.text}, not {example.answer}")
    assert wrong == []


def test_every_operation_is_tried_with_every_answer_that_a_request_alone_can_cause() -> None:
    tried = {(example.method.lower(), example.route, example.status) for example in EXAMPLES}
    for path, methods in openapi()["paths"].items():
        for method, operation in methods.items():
            # What is large or slow can't be written down, nor a copy; 5xx needs a fault, and others
            # keys or limits.
            statuses = {int(status) for status in operation["responses"]}
            statuses -= {304, 401, 403, 408, 413, 429, 431}
            assert {(method, path, status) for status in statuses if status < 500} <= tried


def test_every_page_is_tried() -> None:
    assert {route.path for route in ROUTES} <= {example.route for example in EXAMPLES}
