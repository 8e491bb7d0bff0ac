"""GET /openapi.json says what the service does, and /docs shows it without another host."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route

from service.analytics.parameters import CountQuery, parse_query
from service.app import create_app
from service.documentation import openapi
from service.events import InvalidEventError, parse_event
from service.problems import Problem
from service.reading.parameters import PageQuery
from service.settings import Settings
from tests.http.support import event

quick = settings(deadline=None, max_examples=300)

DESCRIPTION = openapi()
UNDESCRIBED = {
    *("/", "/docs", "/docs/assets/{name:path}", "/openapi.json"),
    *("/demo", "/demo/", "/demo/{name}"),
    *("/dashboard", "/dashboard/", "/dashboard/{name}", "/dashboard/vendor/{name:path}"),
}
"""What leads to the description and shows it is no part of it; nor are the pages."""


def schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}", "components": DESCRIPTION["components"]}


EVENT = Draft202012Validator(schema("Event"))


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DESCRIPTION["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def answer_schema(path: str, method: str, status: int) -> Draft202012Validator:
    answer = DESCRIPTION["paths"][path][method]["responses"][str(status)]
    (content,) = answer["content"].values()
    return Draft202012Validator(content["schema"] | {"components": DESCRIPTION["components"]})


def test_it_is_openapi_3_1(service: httpx.Client) -> None:
    answer = service.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == json.loads(json.dumps(DESCRIPTION))
    assert answer.json()["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(answer.json()).validate()


def test_every_route_is_described_and_nothing_else() -> None:
    app = create_app(Settings(database_url="postgresql://127.0.0.1/none", users_api=True))
    served = {
        (route.path, method.lower())
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
        if route.path not in UNDESCRIBED
    }
    assert all(isinstance(route, Route) for route in app.routes)
    assert served == {(path, method) for path, method, _ in operations()}


def test_every_operation_says_what_it_does_and_what_can_go_wrong() -> None:
    for path, _, operation in operations():
        assert operation["summary"]
        assert "500" in operation["responses"]
        if path.startswith("/analytics"):
            assert {"200", "400", "503"} <= set(operation["responses"])


def test_every_operation_has_an_id_of_its_own() -> None:
    ids = [operation.get("operationId") for _, _, operation in operations()]
    assert all(ids)
    assert len(set(ids)) == len(ids)


def test_every_parameter_and_answer_has_an_example_or_names_its_values() -> None:
    for path, method, operation in operations():
        for parameter in operation.get("parameters", []):
            assert parameter["description"]
            assert {"examples", "enum", "const"} & set(parameter["schema"]), parameter
        for status, answer in operation["responses"].items():
            assert answer["description"]
            assert "X-Request-ID" in answer["headers"]
            for media_type, content in answer.get("content", {}).items():
                where = path, method, status
                if media_type == "application/json":
                    assert resolved(content["schema"])["examples"], where
                elif media_type == "application/problem+json":
                    assert content["examples"], where


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = DESCRIPTION["components"]["schemas"][name] if name else schema
    return found


def test_503_is_described_with_its_retry_after() -> None:
    for _, _, operation in operations():
        if "503" in operation["responses"]:
            assert "Retry-After" in operation["responses"]["503"]["headers"]


def test_the_query_parameters_are_those_of_the_models() -> None:
    by_path = {
        path: {parameter["name"] for parameter in operation.get("parameters", [])}
        for path, method, operation in operations()
        if method == "get"
    }
    both = {"start_date", "end_date", "tz", "site"}
    assert by_path["/analytics/event-counts"] == both | {"event_type"}
    assert by_path["/analytics/event-counts-by-type"] == both
    assert by_path["/analytics/event-counts-over-time"] == both | {"event_type", "interval"}
    assert by_path["/health/live"] == set()
    assert by_path["/events"] == both | {"event_type", "user_id", "limit", "cursor"}
    assert by_path["/events/export"] == both | {"event_type", "user_id", "format"}
    assert by_path["/events/{event_id}"] == {"event_id", "site"}
    assert "parameters" not in DESCRIPTION["paths"]["/events"]["post"]
    assert by_path["/analytics/top-pages"] == both | {"limit"}
    assert by_path["/analytics/top-elements"] == both | {"limit"}
    assert by_path["/analytics/active-users"] == both | {"interval"}


def schemas_in(node: Any) -> Iterator[dict[str, Any]]:
    match node:
        case dict():
            if "examples" in node and isinstance(node["examples"], list):
                yield node
            for member in node.values():
                yield from schemas_in(member)
        case list():
            for member in node:
                yield from schemas_in(member)


def test_every_example_is_valid() -> None:
    found = list(schemas_in(DESCRIPTION))
    assert found
    for one in found:
        validator = Draft202012Validator(one | {"components": DESCRIPTION["components"]})
        for value in one["examples"]:
            validator.validate(value)


KEYWORDS = {
    *("$ref", "type", "enum", "const", "format", "pattern", "minimum", "maximum", "default"),
    *("minLength", "maxLength", "required", "properties", "additionalProperties", "items"),
    *("anyOf", "oneOf", "title", "description", "examples", "discriminator"),
}


def subschemas(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for name in ("anyOf", "oneOf"):
        for member in node.get(name, []):
            yield from subschemas(member)
    for member in node.get("properties", {}).values():
        yield from subschemas(member)


def test_schemas_hold_only_keywords_of_json_schema() -> None:
    parameters = [one["schema"] for _, _, op in operations() for one in op.get("parameters", [])]
    for root in [*parameters, *DESCRIPTION["components"]["schemas"].values()]:
        for node in subschemas(root):
            assert set(node) <= KEYWORDS


def test_the_examples_of_parameters_are_accepted() -> None:
    for path, _, operation in operations():
        for parameter in operation.get("parameters", []):
            if parameter["in"] != "query" or path == "/tallymark.js":  # This one takes any.
                continue
            for example in parameter["schema"].get("examples", []):
                query = str(httpx.QueryParams({parameter["name"]: example})).encode()
                parse_query(PageQuery, query).half_open()


# The schemas and the service agree


def service_accepts(document: Any) -> bool:
    try:
        parse_event(json.dumps(document).encode())
    except InvalidEventError:
        return False
    return True


# What no JSON Schema can say: the bytes of a text, and characters that jsonb can't hold.
text = st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=8)
number = st.integers(-400, 400) | st.floats(-400, 400)
scalar = st.none() | st.booleans() | number | text
names = st.sampled_from(
    ["url", "title", "element_id", "text", "xpath", "latitude", "longitude", "accuracy", "other"]
)
payloads = st.dictionaries(names, scalar | st.lists(scalar, max_size=1), max_size=6)
likely = {
    "view": st.fixed_dictionaries({"url": text}, optional={"title": scalar, "x": scalar}),
    "click": st.fixed_dictionaries({}, optional={"element_id": scalar, "text": scalar}),
    "location": st.fixed_dictionaries(
        {"latitude": number, "longitude": number}, optional={"accuracy": scalar}
    ),
}
documents = st.sampled_from(sorted(likely)).flatmap(
    lambda event_type: st.fixed_dictionaries(
        {
            "user_id": st.just("u") | text,
            "event_type": st.just(event_type) | st.sampled_from(["View", "", "purchase"]),
            "payload": likely[event_type] | payloads | scalar,
        },
        optional={"extra": st.just(1)},
    )
)
damaged = st.tuples(documents, st.sampled_from(["", "user_id", "event_type", "payload"])).map(
    lambda pair: {key: value for key, value in pair[0].items() if key != pair[1]}
)


@quick
@given(document=documents | damaged | scalar | st.lists(documents, max_size=1))
def test_the_schema_accepts_what_the_service_accepts(document: Any) -> None:
    assert EVENT.is_valid(document) == service_accepts(document)


@pytest.mark.parametrize("user_id", ["", " ", "\t\n", "u", "x" * 256, "x" * 257, "é" * 257])
def test_the_schema_knows_what_a_user_id_is(user_id: str) -> None:
    document = event(user_id)
    assert EVENT.is_valid(document) == service_accepts(document)


def parameter_schema(name: str) -> dict[str, Any]:
    parameters = DESCRIPTION["paths"]["/analytics/event-counts"]["get"]["parameters"]
    found: dict[str, Any] = next(one["schema"] for one in parameters if one["name"] == name)
    return found


def query_accepts(name: str, value: str) -> bool:
    try:
        parse_query(CountQuery, str(httpx.QueryParams({name: value})).encode()).half_open()
    except Problem:
        return False
    return True


@quick
@given(value=st.integers(-5, 40_000) | st.sampled_from([0, 1, 32_767, 32_768]))
def test_the_schema_knows_what_a_site_is(value: int) -> None:
    valid = Draft202012Validator(parameter_schema("site")).is_valid(value)
    assert valid == query_accepts("site", str(value))


@pytest.mark.parametrize("value", ["view", "click", "location", "View", "", "purchase"])
def test_the_schema_knows_the_types(value: str) -> None:
    valid = Draft202012Validator(parameter_schema("event_type")).is_valid(value)
    assert valid == query_accepts("event_type", value)


@quick
@given(moment=st.datetimes(), zone=st.sampled_from(["", "Z", "+02:00", "-11:30"]))
def test_a_moment_that_the_service_reads_is_valid_by_the_schema(moment: Any, zone: str) -> None:
    value = moment.isoformat() + zone
    assume(query_accepts("start_date", value))
    for name in ("start_date", "end_date"):
        Draft202012Validator(parameter_schema(name)).validate(value)


# What the service answers is what is described


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("post", "/events", event(), 202),
        ("post", "/events", {}, 400),
        ("post", "/events/batch", [event(), {}], 202),
        ("post", "/events/batch", [{}], 400),
        ("post", "/events/batch", [], 400),
        ("get", "/events", None, 200),
        ("get", "/analytics/event-counts", None, 200),
        ("get", "/analytics/event-counts-by-type", None, 200),
        ("get", "/analytics/top-pages", None, 200),
        ("get", "/analytics/top-elements", None, 200),
        ("get", "/analytics/active-users", None, 200),
        ("get", "/health/live", None, 200),
        ("get", "/health/ready", None, 200),
    ],
)
def test_answers_are_as_described(
    service: httpx.Client, method: str, path: str, body: Any, status: int
) -> None:
    answer = service.request(method, path, json=body)
    assert answer.status_code == status
    answer_schema(path, method, status).validate(answer.json())


def test_one_event_is_as_described(service: httpx.Client) -> None:
    event_id = service.post("/events", json=event()).json()["event_id"]
    for name, status in ((event_id, 200), (f"{event_id[:-4]}0000", 404), ("1", 400)):
        answer = service.get(f"/events/{name}")
        assert answer.status_code == status
        answer_schema("/events/{event_id}", "get", status).validate(answer.json())


def test_a_line_of_an_export_is_as_described(service: httpx.Client) -> None:
    service.post("/events", json=event("exported"))
    answer = DESCRIPTION["paths"]["/events/export"]["get"]["responses"]["200"]
    schema = answer["content"]["application/x-ndjson"]["schema"]
    lines = service.get("/events/export?user_id=exported").text.splitlines()
    assert lines
    for line in lines:
        Draft202012Validator(schema | {"components": DESCRIPTION["components"]}).validate(
            json.loads(line)
        )


@pytest.mark.parametrize(
    "path",
    [
        "/analytics/event-counts",
        "/analytics/event-counts-by-type",
        "/events",
        "/events/export",
    ],
)
def test_a_refused_query_is_as_described(service: httpx.Client, path: str) -> None:
    answer_schema(path, "get", 400).validate(service.get(f"{path}?x=1").json())


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [({"Content-Type": "text/html"}, b"", 415), ({}, b"x" * 70_000, 413)],
)
def test_other_refusals_are_as_described(
    service: httpx.Client, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer = service.post("/events", headers=headers, content=body)
    assert answer.status_code == status
    answer_schema("/events", "post", status).validate(answer.json())


# The page


def test_the_page_loads_nothing_from_another_host(service: httpx.Client) -> None:
    answer = service.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"""(?:https?:)?//[a-z0-9]""", answer.text, re.IGNORECASE)


def test_everything_that_the_page_refers_to_is_there(service: httpx.Client) -> None:
    page = service.get("/docs").text
    references = re.findall(r"""(?:src|href|url)\s*[=:]\s*"([^"]+)\"""", page)
    assert {"/openapi.json", "/docs/assets/swagger-ui-bundle.js"} <= set(references)
    for reference in references:
        answer = service.get(reference)
        assert answer.status_code == 200
        assert answer.content


def test_assets_are_served_under_their_types(service: httpx.Client) -> None:
    types = {"swagger-ui-bundle.js": "javascript", "swagger-ui.css": "text/css"}
    for name, expected in types.items():
        assert expected in service.get(f"/docs/assets/{name}").headers["content-type"]


def test_the_style_sheet_loads_nothing_from_another_host(service: httpx.Client) -> None:
    style = service.get("/docs/assets/swagger-ui.css").text
    assert not re.search(r"""(?:url\(|@import)\s*["']?(?:https?:)?//""", style)


def test_each_example_is_an_event() -> None:
    examples = DESCRIPTION["paths"]["/events"]["post"]["requestBody"]["content"]
    for name, example in examples["application/json"]["examples"].items():
        assert parse_event(json.dumps(example["value"]).encode()).event_type == name
        EVENT.validate(example["value"])
