"""What the API's description says of keys and limits."""

from collections.abc import Callable
from typing import Any

from service.access.cookies import COOKIE
from service.access.keys import Kind
from service.problems import ProblemKind

OPEN = ("/health/live", "/health/ready", "/tallymark.js")
ADMIN = "/users"
"""Below this all is about what is known of a person."""
REFUSALS = (
    ProblemKind.KEY_REQUIRED,
    ProblemKind.KEY_NOT_FOR_THIS,
    ProblemKind.TOO_MANY_REQUESTS,
    ProblemKind.KEYS_UNKNOWN,
)
INGEST_REFUSALS = (*REFUSALS, ProblemKind.ORIGIN_NOT_ALLOWED, ProblemKind.TOO_MANY_LATE_EVENTS)

Answer = Callable[[list[ProblemKind]], dict[str, Any]]
"""Makes the description of an answer for which there may be these reasons."""


def scheme(kind: Kind, more: str) -> dict[str, Any]:
    """Return the scheme of a key in the header."""
    return {"type": "http", "scheme": "bearer", "description": f"A {kind} key: {more}"}


SCHEMES = {
    "writeKey": scheme("write", "the events are of its site"),
    "readKey": scheme("read", "of one site, which is meant where none is named, or of all"),
    "adminKey": scheme("admin", "does what a read key does, and more"),
    "keyInQuery": {
        "type": "apiKey",
        "in": "query",
        "name": "key",
        "description": "A write key, for beacons, which have no headers",
    },
    "login": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "Of who has logged in with a key that reads",
    },
}
SNIPPET_KEY = {
    "name": "key",
    "in": "query",
    "required": False,
    "description": "The write key that the script shows; what could not be one is left out",
    "schema": {"type": "string", "examples": [f"tmw_{'0' * 10}_{'0' * 64}"]},
}
BY_KIND: dict[Kind, list[dict[str, list[str]]]] = {
    "write": [{"writeKey": []}, {"keyInQuery": []}],
    "read": [{"readKey": []}, {"adminKey": []}, {"login": []}],
    "admin": [{"adminKey": []}],
}


def kind_of(path: str, method: str) -> Kind | None:
    """Return which kind of key an operation takes; None: it is open."""
    if path in OPEN:
        return None
    if path.startswith(ADMIN):
        return "admin"
    return "write" if method == "post" else "read"


def describe_access(paths: dict[str, Any], answer: Answer, *, keys_required: bool) -> None:
    """Add to each operation which keys it takes, and what is answered to those without."""
    for path, operations in paths.items():
        for method, operation in operations.items():
            if (kind := kind_of(path, method)) is not None:
                # {} is: without any.
                operation["security"] = ([] if keys_required else [{}]) + BY_KIND[kind]
                _describe_refusals(operation["responses"], kind, answer)


def _describe_refusals(responses: dict[str, Any], kind: Kind, answer: Answer) -> None:
    kinds = INGEST_REFUSALS if kind == "write" else REFUSALS
    for status in dict.fromkeys(kind.status for kind in kinds):
        added = answer([kind for kind in kinds if kind.status == status])
        described = responses.setdefault(str(status), added)
        if described is not added:
            described["description"] += f"; {added['description']}"
            (content,), (others,) = described["content"].values(), added["content"].values()
            content["examples"] |= others["examples"]
